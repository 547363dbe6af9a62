"""The checks before the first server: what waits for them, when they run, and when their results are reused."""

from dataclasses import replace

import pytest

from fusionrun.api.artifacts import digests
from fusionrun.plan.build import build_plan
from fusionrun.plan.families.preflight import with_environment
from fusionrun.plan.graph import needed
from fusionrun.plan.tasks import build_task
from support.golden import SETTINGS
from support.plans import pinned_of, plan_of, read
from support.runs import CLAIM, KEPT, called_reward, changed, external_source, make_spec

TRAINING, REWARD = "preflight/training", "preflight/reward"
CHECKS = {TRAINING, REWARD}
GPU = {"limits": {"nvidia.com/gpu": 2}}


def test_what_costs_something_before_training_waits_for_the_checks():
    plan = plan_of(sources=[*make_spec()["sources"], external_source(), KEPT])
    waiting = {s.name for s in plan.stages if {*s.after} & CHECKS}
    assert all({*plan[name].after} >= CHECKS for name in waiting)
    assert waiting == {
        "serve/ada", "generate/ada", "score/ada", "serve/bob", "generate/bob", "score/bob", "generate/far",
        "score/far", "score/kept", "serve/eval-base", "generate/eval-base",
    }  # fmt: skip


def test_a_check_has_the_pods_of_what_it_protects():
    plan = plan_of(training={"nodes": 3, "resources": GPU}, rewardModel=make_spec()["rewardModel"] | {"resources": GPU})
    training, reward, sft, score = (plan[name] for name in (TRAINING, REWARD, "sft", "score/ada"))
    assert (training.gpus, training.backend, training.traits.workload) == (6, sft.backend, sft.traits.workload)
    assert training.traits.image is sft.traits.image
    assert (reward.gpus, reward.traits.image, reward.remote_code) == (2, score.traits.image, score.remote_code)
    called = plan_of(rewardModel=called_reward())[REWARD]
    assert called.traits.image is plan["construct"].traits.image
    assert (called.pins, called.devices, called.endpoint is not None) == ((), {}, True)


def test_without_preflight_no_stage_waits():
    plan = plan_of(preflight={"enabled": False})
    assert not CHECKS & {s.name for s in plan.stages}
    assert not {*CHECKS} & {name for s in plan.stages for name in s.needs}


@pytest.mark.parametrize(
    ("lost", "checks"),
    [
        (("preflight",), set()),
        (("preflight", "sft", "dpo", "promote"), set()),
        (("preflight", "generate/ada"), set()),
        (("preflight", "generate/ada", "score/ada", "construct"), {REWARD}),
        (("preflight", "generate/ada", "score/ada", "construct", "dpo", "promote"), CHECKS),
        (("preflight/reward", "generate/ada", "score/ada", "construct", "dpo", "promote"), {REWARD}),
        (("preflight", "generate/eval-base", "evaluate/base", "dpo", "promote"), {TRAINING}),
    ],
    ids=" ".join,
)
def test_a_check_runs_if_a_stage_that_it_protects_does_and_a_server_or_a_score_before_it(lost, checks):
    plan = plan_of()
    complete = frozenset(s.name for s in plan.stages if s.traits.has_artifact and not s.name.startswith(lost))
    assert needed(plan, complete) & CHECKS == checks


def test_a_trial_has_the_template_of_sft_and_no_trackers():
    training = {"reportTo": ["TensorBoard", "MLflow"], "mlflow": {"trackingUri": "http://mlflow"}}
    pinned = pinned_of("tiny", make_spec(training=make_spec()["training"] | training))
    tasks = {name: build_task(pinned, pinned.plan[name]).parameters for name in ("sft", "dpo", TRAINING)}
    for kind, template in (("sft", "llama3"), ("dpo", None)):
        assert (tasks[kind].chat_template, len(tasks[kind].report_to)) == (template, 2)
        trial = getattr(tasks[TRAINING], kind)
        assert (trial.chat_template, trial.report_to, trial.mlflow) == ("llama3", [], None), "dpo: of the base model"


def digests_of(spec, images=SETTINGS.images):
    full = read(spec)
    plan = with_environment(build_plan(full), full, images)
    return digests(plan.planned(), ["0" * 12] * len(plan.references))


@pytest.mark.parametrize(
    ("path", "value", "checks"),
    [
        ("training.resources", GPU, {TRAINING}),
        ("training.pod", {"nodeSelector": {"gpu": "h100"}}, {TRAINING}),
        ("training.gradientCheckpointing", False, {TRAINING}),
        ("training.offload", "Optimizer", {TRAINING}),
        ("training.lora", {"rank": 8}, {TRAINING}),
        ("rewardModel.resources", GPU, {REWARD}),
        ("rewardModel.pod", {"nodeSelector": {"gpu": "l4"}}, {REWARD}),
        ("scheduling.nodeSelector", {"gpu": "a100"}, CHECKS),
        ("scheduling.gpuBudget", 8, set()),
        ("scheduling.queueName", "q", set()),
        ("dataStages.pod", {"nodeSelector": {"cpu": "arm64"}}, set()),
        ("training.sft.learningRate", 1e-6, set()),
        ("training.sft.epochs", 2, set()),
        ("training.dpo.beta", 1.0, set()),
        ("training.seed", 7, set()),
        ("sources.0.served.dtype", "float32", set()),
        ("datasets.0.uri", f"pvc://{CLAIM}/other", set()),
    ],
)
def test_a_check_is_repeated_if_its_pods_or_its_settings_change(path, value, checks):
    before, after = digests_of(make_spec()), digests_of(changed(make_spec(), path, value))
    assert {name for name in CHECKS if before[name] != after[name]} == checks


def test_the_check_of_the_destination_has_the_pods_of_the_data_stages():
    spec = make_spec(publish={"uri": "hf://org/out", "tokenSecretRef": {"name": "s", "key": "k"}})
    before = digests_of(spec)
    for path, repeated in (("rewardModel.pod", False), ("training.pod", False), ("dataStages.pod", True)):
        after = digests_of(changed(spec, path, {"nodeSelector": {"pool": "a"}}))
        assert (before["preflight/publishing"] != after["preflight/publishing"]) is repeated, path


def test_a_check_is_repeated_with_another_image():
    before = digests_of(make_spec())
    for field, check in (("train", TRAINING), ("reward", REWARD)):
        after = digests_of(make_spec(), replace(SETTINGS.images, **{field: "other"}))
        assert {name for name in before if before[name] != after[name]} == {check}
