"""A failed check: the run fails when the other checks have ended, with the faults of all of them in one message."""

import pytest

from fusionrun.api.pod import EXIT_USER_ERROR
from fusionrun.api.results.result import Outcome, StageResult, encode_result
from fusionrun.api.status.conditions import Reason
from fusionrun.api.status.stages import StageState
from support.runs import make_run, make_spec
from support.world import World

PUBLISHING, TRAINING, REWARD = "preflight/publishing", "preflight/training", "preflight/reward"
FAULTS = {PUBLISHING: "the token cannot write", TRAINING: "CUDA out of memory", REWARD: "no pair is ordered correctly"}
PUBLISH = {"uri": "pvc://fusion-data/out"}


def start(**changes) -> World:
    """Return a run whose checks run, and a download beside them."""
    changes = {"preflight": {"enabled": True}, "publish": PUBLISH} | changes
    world = World(make_run(sources=[{"name": "ada", "served": {"model": {"uri": "hf://org/ada"}}}], **changes))
    world.finish_in_turn("resolve")
    assert {PUBLISHING, TRAINING, REWARD, "fetch/ada"} <= world.workloads().keys()
    return world


def fail(world: World, stage: str) -> None:
    message = encode_result(StageResult(outcome=Outcome.FAILED, user_error=True, message=FAULTS[stage]))
    world.fail(stage, {"exitCode": EXIT_USER_ERROR, "message": message})
    world.settle()


def message(*stages: str) -> str:
    return "; ".join(f"stage {stage} failed: {FAULTS[stage]}" for stage in stages)


@pytest.mark.parametrize(
    "order",
    [(PUBLISHING, TRAINING, REWARD), (REWARD, TRAINING, PUBLISHING), (TRAINING, PUBLISHING)],
    ids=["in plan order", "in reverse", "one passes"],
)
def test_one_message_has_the_faults_of_all_checks(order):
    world = start()
    for stage in order:
        assert world.condition("Finished")[0] == "False"
        fail(world, stage)
    for stage in FAULTS.keys() - set(order):
        assert world.condition("Reconciling")[2].endswith(f"the run fails when the other checks have ended: {stage}")
        world.finish_in_turn(stage)
    failed = [stage for stage in FAULTS if stage in order]
    assert world.condition("Failed") == ("True", Reason.STAGE_FAILED, message(*failed))
    assert {s.name for s in world.status.stages if s.state is StageState.FAILED} == set(failed)


def test_nothing_else_starts_while_the_other_checks_end():
    world = start()
    created = len(world.created)
    fail(world, REWARD)
    assert world.workloads().keys() == {PUBLISHING, TRAINING}, "the download stops"
    assert world.stage("fetch/ada").message == f"stopped because stage {REWARD} failed; finished artifacts are kept"
    assert world.condition("Ready")[2].startswith(f"{message(REWARD)}; the run fails when")
    assert not world.reconcile().create
    world.finish_in_turn(PUBLISHING, TRAINING)
    assert world.condition("Failed")[2] == message(REWARD)
    assert len(world.created) == created


def waiting_for_gpus() -> World:
    """Return a run whose check of the reward model waits for the GPUs of the check of training."""
    gpus = {"resources": {"limits": {"nvidia.com/gpu": 8}}, "processesPerNode": 8}
    reward = make_spec()["rewardModel"] | {"resources": {"limits": {"nvidia.com/gpu": 2}}}
    world = World(make_run(preflight={"enabled": True}, training=gpus, rewardModel=reward, scheduling={"gpuBudget": 8}))
    world.run_until(TRAINING)
    assert world.stage(REWARD).reason == Reason.WAITING_FOR_GPUS
    return world


def test_a_check_that_no_longer_fits_the_budget_of_gpus_delays_no_failure():
    world = waiting_for_gpus()
    world.change_spec(scheduling={"gpuBudget": 1})
    fail(world, TRAINING)
    assert world.condition("Failed")[2] == message(TRAINING)


def test_a_check_that_waits_for_the_gpus_of_the_failed_one_runs():
    world = waiting_for_gpus()
    fail(world, TRAINING)
    fail(world, REWARD)
    assert world.condition("Failed")[2] == message(TRAINING, REWARD)


def test_a_check_that_is_retried_ends_before_the_run_fails():
    world = start()
    world.fail(TRAINING, {"exitCode": 1, "message": "a network error"})
    world.settle()
    assert world.stage(TRAINING).reason == Reason.BACK_OFF
    world.finish_in_turn(PUBLISHING)
    fail(world, REWARD)
    assert world.condition("Failed")[0] == "False"
    world.pass_time(minutes=1)
    fail(world, TRAINING)
    assert world.condition("Failed")[2] == message(TRAINING, REWARD)


def test_a_check_that_exceeded_its_deadline_does_not_start_again():
    deadlines = [{"kind": "preflight", "activeDeadlineSeconds": 60}]
    world = start(stageDeadlines=deadlines)
    world.place(REWARD)
    world.pass_time(seconds=50)
    world.place(TRAINING)
    world.finish_in_turn(PUBLISHING)
    world.pass_time(seconds=12)
    assert world.stage(REWARD).state is StageState.FAILED
    world.pass_time(seconds=12)
    assert world.workloads().keys() == {TRAINING}
    fail(world, TRAINING)
    failed, _, text = world.condition("Failed")
    assert failed == "True"
    assert text.startswith(message(TRAINING))
    assert f"; stage {REWARD} failed: spec.stageDeadlines[preflight]" in text


@pytest.mark.parametrize(
    "change", [{"suspend": True}, {"activeDeadlineSeconds": 60}, {"budget": {"maxGpuHours": 0.001}}], ids=str
)
def test_a_limit_that_stops_the_other_checks_fails_the_run_at_once(change):
    gpus = {"resources": {"limits": {"nvidia.com/gpu": 1}}}
    world = start(training=gpus)
    world.place(TRAINING)
    fail(world, REWARD)
    assert world.condition("Failed")[0] == "False"
    world.now = world.now.replace(minute=world.now.minute + 10)
    world.change_spec(**change)
    assert world.condition("Failed") == ("True", Reason.STAGE_FAILED, message(REWARD))
    assert not world.workloads()


def test_a_check_that_waits_for_a_download_delays_no_failure():
    world = World(
        make_run(
            preflight={"enabled": True},
            publish=PUBLISH,
            target=make_spec()["target"] | {"model": {"uri": "hf://org/target"}},
            rewardModel=make_spec()["rewardModel"] | {"model": {"uri": "hf://org/reward"}},
        )
    )
    world.finish_in_turn("resolve")
    assert {PUBLISHING, "fetch/target", "fetch/reward"} <= world.workloads().keys()
    fail(world, PUBLISHING)
    assert world.condition("Failed")[2] == message(PUBLISHING)


def test_a_check_that_waits_for_a_missing_object_delays_no_failure():
    reward = make_spec()["rewardModel"] | {"pod": {"runtimeClassName": "own"}}
    world = World(make_run(preflight={"enabled": True}, rewardModel=reward))
    world.settle()
    world.absent.add("own")
    world.finish_in_turn("resolve")
    assert world.stage(REWARD).reason == Reason.RUNTIME_CLASS_MISSING
    fail(world, TRAINING)
    assert world.condition("Failed")[2] == message(TRAINING)


def test_another_failed_stage_fails_the_run_at_once():
    world = start()
    world.fail("fetch/ada", {"exitCode": EXIT_USER_ERROR})
    world.settle()
    assert world.condition("Failed")[0] == "True"
    assert not world.workloads()


def test_a_retry_starts_every_failed_check_again():
    world = start()
    for stage in FAULTS:
        fail(world, stage)
    world.run["metadata"]["annotations"] = {"fusionrun.dev/retry": "1"}
    world.complete()
