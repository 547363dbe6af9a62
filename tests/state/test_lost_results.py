"""A result is lost only if a list of the pods lacks it; a stage whose lost result is needed is retried."""

from datetime import timedelta

import pytest

from fusionrun import names
from fusionrun.api.results.result import Outcome, StageResult, encode_result
from fusionrun.api.status.conditions import Reason
from fusionrun.state.decide.run import decide
from fusionrun.state.observe.object_ref import ObjectRef
from support.runs import make_run
from support.world import World


def pods(stage: str, world: World) -> set[ObjectRef]:
    """Return the pods of a stage."""
    label = names.stage_label(stage)
    return {
        r for r, o in world.objects.items() if r.kind == "Pod" and o["metadata"]["labels"][names.LABEL_STAGE] == label
    }


def lose_results(stage: str, world: World) -> World:
    """Let a stage succeed, and delete its pods before they are observed."""
    world.run_until(stage)
    before = pods(stage, world)
    world.finish(stage)
    for pod in pods(stage, world) - before:
        del world.objects[pod]
    world.settle()
    world.pass_time(seconds=3)
    world.pass_time(seconds=20)  # the next attempt is due
    return world


@pytest.mark.parametrize("stage", ["resolve", "prepare/prompts", "generate/ada", "construct", "sft", "evaluate/final"])
def test_a_result_that_a_slow_watch_has_not_reported_is_not_lost(stage):
    world = World(make_run())
    world.run_until(stage)
    world.finish(stage)
    world.unreported = pods(stage, world)
    decision = decide(world.live(), world.settings, world.now)
    assert decision.list_pods == (), "the watch may be late"
    assert 0 < decision.requeue_seconds <= 2
    world.now += timedelta(hours=1)
    (ended,) = decide(world.live(), world.settings, world.now).list_pods
    assert world.objects[ended]["metadata"]["labels"][names.LABEL_STAGE] == names.stage_label(stage)
    world.settle()
    assert (world.stage(stage).state, world.stage(stage).attempt) == ("Succeeded", None)
    assert not [e for e in world.events if e.reason == Reason.STAGE_RETRIED]
    assert world.stage(stage).peak_memory_bytes == 1000, "the numbers are in the results"
    assert decide(world.live(), world.settings, world.now).list_pods == (), "a finished stage needs no list"


@pytest.mark.parametrize("stage", ["prepare/prompts", "sft"])
def test_a_failure_that_a_slow_watch_has_not_reported_is_explained(stage):
    world = World(make_run())
    world.run_until(stage)
    result = encode_result(StageResult(outcome=Outcome.FAILED, user_error=True, message="no column 'prompt'"))
    world.fail(stage, {"message": result})
    world.unreported = pods(stage, world)
    assert not world.reconcile().list_pods
    assert world.stage(stage).state == "Running"
    world.now += timedelta(seconds=3)
    world.reconcile()
    assert (world.stage(stage).state, world.stage(stage).reason) == ("Failed", Reason.USER_ERROR)
    assert world.stage(stage).message == "no column 'prompt'"


@pytest.mark.parametrize("outcome", ["failed", "succeeded"])
def test_an_attempt_without_pods_is_listed_once(outcome):
    """A list may come later than the decision that asks for it. Until then, no decision may undo the earlier one."""
    stage = {"failed": "sft", "succeeded": "construct"}[outcome]
    world = World(make_run())
    world.run_until(stage)
    if outcome == "failed":
        world.fail(stage, {})
    else:
        world.finish(stage)
    for pod in pods(stage, world):
        del world.objects[pod]
    world.pass_time(seconds=3)
    known = world.stage(stage)
    assert known.reason == Reason.BACK_OFF
    decision = decide(world.live(), world.settings, world.now)
    assert (decision.status, decision.list_pods, decision.events) == (None, (), ())
    world.now += timedelta(seconds=20)
    decision = decide(world.live(), world.settings, world.now)
    assert decision.create
    assert decision.list_pods == ()


@pytest.mark.parametrize("stage", ["resolve", "construct", "evaluate/final"])
def test_a_stage_whose_lost_result_others_need_is_retried(stage):
    run = make_run()
    run["spec"]["evaluation"]["gate"] = [{"benchmark": "math-test", "against": "Base", "minDelta": 1.0}]
    world = lose_results(stage, World(run))
    assert world.workloads()[stage]["metadata"]["name"].endswith("-r1")
    retried = [e.message for e in world.events if e.reason == Reason.STAGE_RETRIED]
    assert retried == [f"{stage}: the stage ended, but its pods were deleted before their results were read"]
    world.run_to_end()
    assert world.condition("EvaluationPassed")[:2] == ("True", Reason.EVALUATION_PASSED)
    assert world.status.dataset.sft_rows == 7


def test_a_termination_message_that_is_no_result_is_shown():
    world = World(make_run())
    world.run_until("resolve")
    world.finish("resolve")
    for pod in pods("resolve", world):
        world.objects[pod]["status"]["containerStatuses"][0]["state"]["terminated"]["message"] = "done\n"
    world.settle()
    world.pass_time(seconds=3)
    assert "succeeded, but its termination message is not a result: 'done\\n'" in world.stage("resolve").message


@pytest.mark.parametrize("stage", ["resolve", "evaluate/final"])
def test_lost_results_fail_the_stage_after_backoff_limit(stage):
    world = lose_results(stage, World(make_run(backoffLimit=1)))
    lose_results(stage, world)
    assert (world.stage(stage).state, world.stage(stage).reason) == ("Failed", Reason.INFRASTRUCTURE_ERROR)
    assert world.condition("Failed")[:2] == ("True", Reason.STAGE_FAILED)


def test_a_lost_data_set_summary_does_not_fail_the_run():
    world = lose_results("construct", World(make_run(backoffLimit=0)))
    world.complete()
    assert world.status.dataset is None


def test_a_stage_whose_result_no_other_stage_needs_is_not_retried():
    world = lose_results("prepare/prompts", World(make_run()))
    assert world.stage("prepare/prompts").state == "Succeeded"
