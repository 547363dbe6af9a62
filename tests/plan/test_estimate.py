"""The estimate of a run, against numbers worked out by hand."""

import pytest

from fusionrun.api.published.gpu_models import gpu_model
from fusionrun.plan.build import build_plan
from fusionrun.plan.estimate import estimate
from fusionrun.plan.requests import Requests
from fusionrun.plan.speeds import decode_tokens_per_second, serving_seconds
from fusionrun.plan.stage_estimate import MeasuredSteps, PromptCounts
from support.plans import read
from support.runs import evaluation_only, external_judge, external_source, make_spec, measured, rated, served_judge

P = 8_000_000_000
ONE_GPU = {"limits": {"nvidia.com/gpu": 1}}
ARENA = {"name": "arena", "preset": "ArenaHard", "uri": "pvc://fusion-data/arena"}
GSM8K = {"name": "gsm8k", "preset": "GSM8K"}
PRICES = {"prompt": 10.0, "completion": 30.0}


def spec(**changes):
    made = make_spec()
    for source in made["sources"]:
        source["served"] |= {"resources": ONE_GPU}
    made["rewardModel"]["resources"] = ONE_GPU
    made["training"] |= {"nodes": 1, "processesPerNode": 2, "resources": {"limits": {"nvidia.com/gpu": 2}}}
    made["training"]["sft"] = {"epochs": 3, "globalBatchSize": 128}
    made["training"]["dpo"] = {"epochs": 1, "globalBatchSize": 128}
    math = made["datasets"][0] | {"maxPrompts": 1000, "samplesPerPrompt": 5}
    return made | {"datasets": [math], "evaluation": {}} | changes


def evaluated(*benchmarks, **more):
    """Return a spec that evaluates on a GPU."""
    return spec(evaluation={"benchmarks": list(benchmarks), "server": {"resources": ONE_GPU}, **more})


def estimate_of(data, sizes=P, measured=None, needed=None, **known):
    full = read(data)
    plan = build_plan(full)
    names = [s.name for s in plan.stages] if needed is None else needed
    fields = [r.field for r in plan.references if r.kind == "model"]
    price = lambda stage: 2.0 * stage.gpus  # noqa: E731
    return estimate(full, plan, dict.fromkeys(fields, sizes), names, price, measured, **known)


def rows_of(data, **known):
    return {row.kind: row for row in estimate_of(data, **known).stages}


def test_decoding_reads_the_weights_once_per_step_and_computes_for_each_sequence():
    # 16e9 bytes / (0.6 x 3.35e12) + 256 x 16e9 FLOPs / (0.25 x 989.4e12) = 7.96 ms + 16.56 ms
    assert decode_tokens_per_second(P, 1) == pytest.approx(256 / 0.02452, rel=1e-3)
    assert decode_tokens_per_second(P, 4) == pytest.approx(4 * decode_tokens_per_second(P, 1))


def test_serving_reads_the_prompts_and_generates_the_responses():
    # 750,000 tokens x 16e9 FLOPs / (0.4 x 989.4e12) = 30.3 s, and 2.25 million tokens at 10,441 per second = 215.5 s
    assert serving_seconds(Requests(5000, 750_000, 2_250_000), P, 1) == pytest.approx(245.8, abs=0.1)


def test_the_rows_follow_from_prompts_samples_and_parameters():
    rows = rows_of(spec())
    # Two sources, 1,000 prompts x 5 samples each, as above.
    assert rows["serve"].gpu_hours == pytest.approx(2 * 245.8 / 3600, abs=0.01)
    assert rows["serve"].seconds == 246
    # 5,000 responses x 600 tokens x 16e9 FLOPs / (0.4 x 989.4e12) = 121.3 s for each source.
    assert rows["score"].seconds == 122
    # 3 x 1,000 rows x 600 tokens x 6 x 8e9 / (2 x 0.35 x 989.4e12) = 124.8 s on two GPUs.
    assert rows["sft"].seconds == 125
    # 1,000 pairs x 2 x 600 tokens x 8 x 8e9 / (2 x 0.35 x 989.4e12) = 110.9 s
    assert rows["dpo"].seconds == 111
    assert rows["sft"].cost == pytest.approx(124.8 / 3600 * 4, abs=0.01)
    # 3 models x 20 held-out pairs x 2 x 600 tokens x 16e9 / (0.4 x 989.4e12) = 2.9 s
    assert (rows["promote"].seconds, rows["promote"].gpu_hours) == (3, 0.0)


def test_the_wall_time_is_the_longest_path():
    # serve, score, sft, dpo, promote: the sources are served side by side.
    assert estimate_of(spec()).seconds == pytest.approx(245.8 + 121.3 + 124.8 + 110.9 + 2.9, abs=1)
    one_by_one = estimate_of(
        spec(scheduling={"maxServers": 1}, training=spec()["training"]), needed={"serve/ada", "serve/bob"}
    )
    assert one_by_one.seconds == pytest.approx(2 * 245.8, abs=1)
    # 2 x 245.8 + 2 x 121.3 + 2 x 124.8 + 2 x 110.9 + 2.9 GPU-seconds on two GPUs
    assert estimate_of(spec(scheduling={"gpuBudget": 2})).seconds == pytest.approx(605.7, abs=1)


@pytest.mark.parametrize(("replicas", "gpus", "seconds"), [(1, 1, 122), (2, 1, 61), (8, 1, 61), (2, 2, 61)])
def test_the_pods_of_the_reward_model_share_the_shards_of_responses(replicas, gpus, seconds):
    data = spec()
    data["rewardModel"] |= {"replicas": replicas, "resources": {"limits": {"nvidia.com/gpu": gpus}}}
    row = rows_of(data)["score"]
    assert row.seconds == seconds
    # 121.3 GPU-seconds for each of two sources, times the GPUs that a pod holds.
    assert row.gpu_hours == pytest.approx(2 * 121.3 * gpus / 3600, abs=0.01)


@pytest.mark.parametrize(
    ("max_length", "sft", "dpo"),
    [(2048, 71, 47), (1200, 120, 80), (600, 240, 160), (256, 240, 160)],
    ids=["the recipe's", "half of it", "as long as assumed", "shorter than assumed"],
)
def test_measured_steps_replace_the_estimate_of_training_and_rows_are_shorter_than_those_measured(max_length, sft, dpo):
    data = spec()
    for stage in ("sft", "dpo"):
        data["training"][stage]["maxLength"] = max_length
    rows = rows_of(data, measured=MeasuredSteps(10.0, 20.0))
    assert (rows["sft"].seconds, rows["sft"].basis) == (sft, "Measured")  # 24 steps, of 600 tokens per row
    assert (rows["dpo"].seconds, rows["dpo"].basis) == (dpo, "Measured")  # 8 steps
    assert rows["serve"].basis == "EstimateForH100"


@pytest.mark.parametrize(
    ("name", "seconds", "basis"),
    [
        (None, 122, "EstimateForH100"),
        ("NVIDIA-H100-80GB-HBM3", 122, "Estimate"),
        ("NVIDIA-A100-SXM4-80GB", 385, "Estimate"),  # 121.3 x 989.4 / 312
    ],
)
def test_the_speeds_are_those_of_the_gpus_of_the_run(name, seconds, basis):
    gpu = gpu_model(name or "")
    made = estimate_of(spec(), gpu=gpu)
    row = next(row for row in made.stages if row.kind == "score")
    assert (row.seconds, row.basis, made.gpu) == (seconds, basis, gpu and gpu.name)


def test_a_gpu_budget_makes_the_stages_of_a_kind_run_one_after_the_other():
    both = rows_of(spec())["serve"].seconds
    assert rows_of(spec(scheduling={"gpuBudget": 2}))["serve"].seconds == both
    assert rows_of(spec(scheduling={"gpuBudget": 1}))["serve"].seconds == pytest.approx(2 * both, abs=1)


def test_what_is_complete_or_unknown_is_left_out():
    assert [row.kind for row in estimate_of(spec(), needed={"dpo"}).stages] == ["dpo"]
    without = estimate_of(spec(), sizes=None)
    served = ["sources[ada].served.model", "rewardModel.model", "sources[bob].served.model", "target.model"]
    assert (without.stages, sorted(without.unknown)) == ([], sorted(served))
    unlimited = spec()
    del unlimited["datasets"][0]["maxPrompts"]
    found = estimate_of(unlimited)
    assert (found.stages, found.unknown) == ([], ["datasets[math]"])
    counted = estimate_of(unlimited, counted=PromptCounts({"math": 1000}))
    assert (counted.stages, counted.unknown) == (estimate_of(spec()).stages, [])
    on_cpus = estimate_of(make_spec())
    assert (on_cpus.stages, on_cpus.unknown) == ([], [])


@pytest.mark.parametrize(
    ("benchmark", "requests"),
    [
        (GSM8K, Requests(1319, 1319 * 150, 1319 * 450)),
        (GSM8K | {"maxPrompts": 10}, Requests(10, 1500, 4500)),
        (GSM8K | {"maxPrompts": 10, "samples": 4, "sampling": {"maxTokens": 100}}, Requests(40, 6000, 4000)),
        ({"name": "mt", "preset": "MTBench", "uri": "pvc://fusion-data/mt"}, Requests(160, 24_000, 72_000)),
    ],
    ids=["questions of the preset", "maxPrompts", "samples and maxTokens", "two turns"],
)
def test_each_evaluated_model_is_served_for_the_questions(benchmark, requests):
    data = evaluated(benchmark, judge=external_judge())
    row = rows_of(data, needed={f"serve/eval-{model}" for model in ("base", "sft", "final")})["serve"]
    assert row.gpu_hours == pytest.approx(3 * serving_seconds(requests, P, 1) / 3600, abs=0.006)


def test_benchmarks_of_unknown_size_are_listed_until_they_are_counted():
    tasks = {"name": "mmlu", "harness": "LmEval", "task": "mmlu"}
    data = evaluated(rated(), tasks, GSM8K, judge=served_judge(resources=ONE_GPU))
    assert estimate_of(data).unknown == ["evaluation.benchmarks[rated]", "evaluation.benchmarks[mmlu]"]
    before = rows_of(data)["serve"].gpu_hours
    counted = estimate_of(data, counted=PromptCounts(benchmarks={"rated": 20_000, "gsm8k": 1319}))
    assert counted.unknown == ["evaluation.benchmarks[mmlu]"]
    assert next(row for row in counted.stages if row.kind == "serve").gpu_hours > before


def test_a_served_judge_reads_both_responses_of_each_game():
    data = evaluated(ARENA, judge=served_judge(resources=ONE_GPU))
    row = rows_of(data, needed={"serve/judge-final"})["serve"]
    # 500 questions x 2 games, each with a prompt and two responses
    assert row.seconds == pytest.approx(serving_seconds(Requests(1000, 1_050_000, 450_000), P, 1), abs=1)


def test_a_judge_behind_an_endpoint_costs_its_prices_and_no_gpu():
    data = evaluated(ARENA, judge=external_judge(prices=PRICES))
    row = rows_of(data, needed={"judge/base", "judge/sft", "judge/final"})["judge"]
    # 1.05 million prompt tokens x 10 + 0.45 million tokens x 30, for each of three models
    assert (row.gpu_hours, row.cost, row.basis) == (0.0, 72.0, "Estimate")
    assert row.seconds == 141  # 450,000 tokens / (50 per second x 64 requests in flight)


@pytest.mark.parametrize(
    ("quota", "cost", "exceeds"),
    [
        ({}, 75.0, []),  # 0.75 million x 10 + 2.25 million x 30
        ({"maxRequests": 5000}, 75.0, []),
        ({"maxRequests": 2500}, 37.5, ["maxRequests"]),
        ({"maxTokens": 1_000_000, "maxCost": 15.0}, 15.0, ["maxTokens", "maxCost"]),
    ],
)
def test_a_source_behind_an_endpoint_costs_at_most_its_quota(quota, cost, exceeds):
    data = spec(sources=[external_source(prices=PRICES, quota=quota)])
    made = estimate_of(data, needed={"generate/far"})
    assert (made.cost, made.gpu_hours) == (cost, 0.0)
    assert made.exceeds == [f"sources[far].endpoint.quota.{name}" for name in exceeds]


def test_a_reward_model_behind_an_endpoint_is_unknown():
    data = spec()
    data["rewardModel"] = {"endpoint": {"url": "https://reward", "model": "r"}}
    made = estimate_of(data)
    assert "score" not in {row.kind for row in made.stages}
    assert made.unknown == ["rewardModel.endpoint"]


def test_each_model_of_an_evaluation_has_its_own_size():
    data = evaluation_only(measured("ada"), measured("bob"))
    data["evaluation"] = {"benchmarks": [GSM8K], "server": {"resources": ONE_GPU}}
    full = read(data)
    plan = build_plan(full)
    sizes = {"evaluateOnly.models[ada].model": P, "evaluateOnly.models[bob].model": None}
    made = estimate(full, plan, sizes, [s.name for s in plan.stages], lambda stage: 0.0)
    assert made.gpu_hours == pytest.approx(serving_seconds(Requests(1319, 197_850, 593_550), P, 1) / 3600, abs=0.01)
    assert made.unknown == ["evaluateOnly.models[bob].model"]


def test_limits_below_the_estimate_are_named():
    limited = spec(budget={"maxGpuHours": 0.1, "maxCost": 100.0}, activeDeadlineSeconds=300)
    assert estimate_of(limited).exceeds == ["budget.maxGpuHours", "activeDeadlineSeconds"]
