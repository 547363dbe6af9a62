"""The estimate of a run, against numbers worked out by hand."""

import pytest

from fusionrun.plan.build import build_plan
from fusionrun.plan.estimate import MeasuredSteps, decode_tokens_per_second, estimate
from support.plans import read
from support.runs import make_spec

P = 8_000_000_000
FIELDS = ("target.model", "rewardModel.model", "sources[ada].served.model", "sources[bob].served.model")


def spec(**changes):
    made = make_spec()
    for source in made["sources"]:
        source["served"] |= {"resources": {"limits": {"nvidia.com/gpu": 1}}}
    made["rewardModel"]["resources"] = {"limits": {"nvidia.com/gpu": 1}}
    made["training"] |= {"nodes": 1, "processesPerNode": 2, "resources": {"limits": {"nvidia.com/gpu": 2}}}
    made["training"]["sft"] = {"epochs": 3, "globalBatchSize": 128}
    made["training"]["dpo"] = {"epochs": 1, "globalBatchSize": 128}
    math = made["datasets"][0] | {"maxPrompts": 1000, "samplesPerPrompt": 5}
    return made | {"datasets": [math]} | changes


def estimate_of(data, sizes=P, measured=None, needed=None):
    full = read(data)
    plan = build_plan(full)
    names = [s.name for s in plan.stages] if needed is None else needed
    return estimate(full, plan, dict.fromkeys(FIELDS, sizes), names, lambda stage: 2.0 * stage.gpus, measured)


def test_decoding_reads_the_weights_once_per_step_and_computes_for_each_sequence():
    # 16e9 bytes / (0.6 x 3.35e12) + 256 x 16e9 FLOPs / (0.25 x 989e12) = 7.96 ms + 16.57 ms
    assert decode_tokens_per_second(P, 1) == pytest.approx(256 / 0.024527, rel=1e-3)
    assert decode_tokens_per_second(P, 4) == pytest.approx(4 * decode_tokens_per_second(P, 1))


def test_the_rows_follow_from_prompts_samples_and_parameters():
    rows = {row.kind: row for row in estimate_of(spec()).stages}
    # Two sources, 1,000 prompts x 5 samples x 450 tokens each, at 10,437 tokens per second.
    assert rows["serve"].gpu_hours == pytest.approx(2 * 5000 * 450 / 10_437 / 3600, abs=0.01)
    assert rows["serve"].seconds == 216
    # 5,000 responses x 600 tokens x 16e9 FLOPs / (0.4 x 989e12) = 121.3 s for each source.
    assert rows["score"].seconds == 122
    # 3 x 1,000 rows x 600 tokens x 6 x 8e9 / (2 x 0.35 x 989e12) = 124.8 s on two GPUs.
    assert (rows["sft"].seconds, rows["sft"].basis) == (125, "Estimate")
    # 1,000 pairs x 2 x 600 tokens x 8 x 8e9 / (2 x 0.35 x 989e12) = 110.9 s
    assert rows["dpo"].seconds == 111
    assert rows["sft"].cost == pytest.approx(124.8 / 3600 * 4, abs=0.01)


@pytest.mark.parametrize(("replicas", "gpus", "seconds"), [(1, 1, 122), (2, 1, 61), (8, 1, 61), (2, 2, 61)])
def test_the_pods_of_the_reward_model_share_the_shards_of_responses(replicas, gpus, seconds):
    data = spec()
    data["rewardModel"] |= {"replicas": replicas, "resources": {"limits": {"nvidia.com/gpu": gpus}}}
    (row,) = (row for row in estimate_of(data).stages if row.kind == "score")
    assert row.seconds == seconds
    # 121.3 GPU-seconds for each of two sources, times the GPUs that a pod holds.
    assert row.gpu_hours == pytest.approx(2 * 121.3 * gpus / 3600, abs=0.01)


def test_measured_steps_replace_the_estimate_of_training():
    rows = {row.kind: row for row in estimate_of(spec(), measured=MeasuredSteps(10.0, 20.0)).stages}
    assert (rows["sft"].seconds, rows["sft"].basis) == (240, "Measured")  # 24 steps
    assert (rows["dpo"].seconds, rows["dpo"].basis) == (160, "Measured")  # 8 steps
    assert rows["serve"].basis == "Estimate"


def test_a_gpu_budget_makes_the_stages_of_a_kind_run_one_after_the_other():
    both = {row.kind: row for row in estimate_of(spec()).stages}["serve"].seconds
    one = {row.kind: row for row in estimate_of(spec(scheduling={"gpuBudget": 2})).stages}["serve"].seconds
    assert one == both
    single = spec(scheduling={"gpuBudget": 1})
    assert {row.kind: row for row in estimate_of(single).stages}["serve"].seconds == pytest.approx(2 * both, abs=1)


def test_what_is_complete_or_unknown_is_left_out():
    assert [row.kind for row in estimate_of(spec(), needed={"dpo"}).stages] == ["dpo"]
    assert estimate_of(spec(), sizes=None).stages == []
    unlimited = spec()
    del unlimited["datasets"][0]["maxPrompts"]
    found = estimate_of(unlimited)
    assert (found.stages, found.unknown) == ([], ["math"])
    assert estimate_of(make_spec()).stages == []  # no GPUs
