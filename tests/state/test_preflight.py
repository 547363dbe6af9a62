"""The checks before the first server in a run: servers wait, figures are shown, a failure ends the run, reuse."""

import pytest

from fusionrun.api.pod import EXIT_USER_ERROR
from fusionrun.api.results.result import Outcome, StageResult, encode_result
from fusionrun.api.results.values import Preflighted
from fusionrun.api.status.conditions import Reason
from fusionrun.api.status.stages import StageState
from support.runs import make_run, make_spec
from support.world import World, succeeded, with_complete

ENABLED = {"enabled": True}
TRAINING, REWARD = "preflight/training", "preflight/reward"
MEASURED = Preflighted(
    sft_step_seconds=5.8, dpo_step_seconds=9.1, gpu_memory_bytes=61 * 2**30, gpu="NVIDIA H100 80GB HBM3", bandwidth=4e11
)


def checked(kind, task):
    """Return the results of a run whose checks have figures."""
    result = succeeded(kind, task)
    if kind != "preflight":
        return result
    return result.model_copy(update={"values": MEASURED if task.stage == TRAINING else Preflighted(pairs=3)})


def start(**changes) -> World:
    return World(make_run(**{"preflight": ENABLED} | changes), answer=checked)


def test_servers_wait_for_the_checks_and_the_status_shows_their_figures():
    hub = {"model": {"uri": "hf://org/ada"}}
    world = start(sources=[{"name": "ada", "served": hub}])
    world.finish_in_turn("resolve", "prepare/prompts")
    assert {TRAINING, REWARD, "fetch/ada"} <= world.workloads().keys(), "downloads run beside the checks"
    world.finish_in_turn("fetch/ada", TRAINING)
    assert not any(name.startswith(("serve/", "generate/")) for name in world.workloads())
    world.finish_in_turn(REWARD)
    assert "serve/ada" in world.workloads()
    assert world.stage(TRAINING).message == (
        "SFT 5.8 s and DPO 9.1 s per step, 61.0 GiB of GPU memory; NVIDIA H100 80GB HBM3; "
        "400 GB/s between the processes"
    )
    assert world.stage(REWARD).message == "the reward model orders 3 calibration pairs correctly"
    world.complete()


@pytest.mark.parametrize("backend", ["PyTorchJob", "Job", "TrainJob"])
def test_the_check_of_training_has_the_object_of_training_and_fails_the_run(backend):
    world = start(training={"nodes": 2, "backend": backend})
    world.run_until(TRAINING)
    world.finish_in_turn(REWARD)
    text = "CUDA out of memory: lower training.dpo.microBatchSize or maxLength"
    message = encode_result(StageResult(outcome=Outcome.FAILED, user_error=True, message=text))
    assert world.workloads()[TRAINING]["kind"] == backend
    world.fail(TRAINING, {"exitCode": EXIT_USER_ERROR, "message": message})
    world.settle()
    assert world.stage(TRAINING).state is StageState.FAILED
    assert (world.stage(TRAINING).reason, world.stage(TRAINING).message) == (Reason.USER_ERROR, text)
    assert world.condition("Complete")[1] == Reason.STAGE_FAILED
    assert not any(name.startswith("serve/") for name in world.workloads())


def test_the_check_of_training_is_retried_as_a_whole():
    world = start(training={"nodes": 2, "backend": "Job"})
    world.run_until(TRAINING)
    first = world.workloads()[TRAINING]["metadata"]["name"]
    world.fail(TRAINING, {"exitCode": 1})
    world.settle()
    world.pass_time(minutes=1)
    assert world.workloads()[TRAINING]["metadata"]["name"] == f"{first}-r1"
    world.complete()


def test_the_check_of_training_counts_for_the_gpu_budget():
    gpus = {"resources": {"limits": {"nvidia.com/gpu": 4}}, "nodes": 2, "processesPerNode": 4}
    reward = make_spec()["rewardModel"] | {"resources": {"limits": {"nvidia.com/gpu": 1}}}
    world = start(training=gpus, rewardModel=reward, scheduling={"gpuBudget": 8})
    world.run_until(TRAINING)
    assert REWARD not in world.workloads()
    assert world.stage(REWARD).reason == Reason.WAITING_FOR_GPUS
    world.complete()


@pytest.mark.parametrize(
    ("incomplete", "checks"),
    [
        (("preflight",), set()),
        (("preflight", "generate/ada", "score/ada", "construct"), {REWARD}),
        (("serve", "generate", "score", "construct", "sft", "dpo", "promote"), set()),
        (("preflight", "generate", "score", "construct", "sft", "dpo", "promote"), {TRAINING, REWARD}),
    ],
    ids=["cached run", "training complete", "checks complete", "nothing complete"],
)
def test_a_check_runs_only_if_it_is_needed_and_not_complete(incomplete, checks):
    world = World(make_run(preflight=ENABLED), answer=with_complete(lambda stage: not stage.startswith(incomplete)))
    world.complete()
    assert {name.partition(":")[2].replace(".", "/", 1) for name in world.started} & {TRAINING, REWARD} == checks


def test_a_run_of_an_earlier_release_has_no_checks():
    world = start()
    world.settle()
    spec_map = next(o for o in world.of_kind("ConfigMap") if o["metadata"]["name"] == "tiny-spec")
    assert '"preflight/training"' in spec_map["data"]["stages.json"]
    older = World(make_run())
    older.settle()
    older.run["spec"].pop("preflight")  # an earlier release accepted it without the field
    older.run_until("serve/ada")
    assert not any(stage.name.startswith("preflight") for stage in older.status.stages)


def test_a_check_with_other_settings_than_at_acceptance_has_an_artifact_of_its_own():
    world = start()
    world.run_until(TRAINING)
    world.finish_in_turn(REWARD)
    directory = world.task(TRAINING).output_dir
    world.fail(TRAINING, {"exitCode": EXIT_USER_ERROR, "message": encode_result(
        StageResult(outcome=Outcome.FAILED, user_error=True, message="out of memory")
    )})  # fmt: skip
    world.settle()
    before = world.run["status"]["resolvedDigest"]
    world.change_spec(training=make_spec()["training"] | {"gradientCheckpointing": False})
    world.run["metadata"]["annotations"] = {"fusionrun.dev/retry": "1"}
    world.settle()
    task = world.task(TRAINING)
    assert task.parameters.sft.gradient_checkpointing is False
    assert task.output_dir != directory, "a run with the earlier settings must not reuse the result"
    assert task.digest in task.output_dir
    assert world.run["status"]["resolvedDigest"] == before
    world.complete()
