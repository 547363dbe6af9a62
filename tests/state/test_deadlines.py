"""Deadlines of a run and of its stages: what counts, what does not, and that a jump of the clock ends nothing."""

from datetime import timedelta
from typing import Any

import pytest

from fusionrun.api.status.conditions import Reason
from fusionrun.state.observe.object_fields import format_time
from support.runs import make_run
from support.world import World, world_after

EXCEEDED = Reason.DEADLINE_EXCEEDED
GATED = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}
UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/9 nodes"}


def pass_minutes(world: World, minutes: int) -> None:
    """Let the time pass, with a resync every ten minutes."""
    for step in [10] * (minutes // 10) + [minutes % 10]:
        world.pass_time(minutes=step)


def failed(world: World) -> str:
    return world.condition("Failed")[1] if world.condition("Failed")[0] == "True" else ""


# The run --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suspend", [False, True])
def test_the_deadline_fails_the_run_and_suspended_time_does_not_count(suspend):
    world = world_after(activeDeadlineSeconds=60, suspend=suspend)
    if suspend:
        world.pass_time(hours=9)
        assert world.condition("Suspended")[:2] == ("True", "Suspended")
        world.change_spec(suspend=False)
    world.pass_time(seconds=59)
    assert world.condition("Finished")[0] == "False"
    world.pass_time(seconds=2)
    assert world.condition("Failed")[1] == EXCEEDED
    assert not world.workloads()


def test_the_time_before_each_suspension_counts():
    world = world_after(activeDeadlineSeconds=3600)
    for _ in range(2):
        pass_minutes(world, 29)
        world.change_spec(suspend=True)
        pass_minutes(world, 300)
        assert not failed(world)
        world.change_spec(suspend=False)
    assert world.status.active_seconds == 2 * 29 * 60
    pass_minutes(world, 1)
    assert not failed(world)
    pass_minutes(world, 2)
    assert failed(world) == EXCEEDED


@pytest.mark.parametrize("jump", [timedelta(hours=30), timedelta(hours=-30)])
def test_a_jump_of_the_clock_adds_at_most_twenty_minutes(jump):
    world = world_after(activeDeadlineSeconds=7200, stageDeadlines=[{"kind": "resolve", "activeDeadlineSeconds": 7200}])
    world.place("resolve")
    pass_minutes(world, 50)
    world.now += jump
    for _ in range(3):
        world.reconcile()
    world.now -= jump
    world.settle()
    assert 50 * 60 <= world.status.active_seconds <= 70 * 60
    pass_minutes(world, 30)
    assert not failed(world)
    pass_minutes(world, 60)
    assert failed(world) == EXCEEDED


def test_a_clock_that_stays_ahead_is_believed_after_twenty_minutes():
    world = world_after(stageDeadlines=[{"kind": "resolve", "activeDeadlineSeconds": 7200}])
    world.place("resolve")
    pass_minutes(world, 1)
    world.pass_time(hours=30)
    assert world.reconcile().requeue_seconds == 60
    pass_minutes(world, 19)
    assert not failed(world)
    pass_minutes(world, 2)
    assert world.stage("resolve").reason == EXCEEDED


def test_the_time_of_a_run_that_an_older_release_started_counts():
    world = world_after(activeDeadlineSeconds=3600)
    for name in ("activeSeconds", "activeUntil"):
        del world.run["status"][name]
    world.now += timedelta(minutes=59)
    world.settle()
    assert world.status.active_seconds == 59 * 60
    pass_minutes(world, 2)
    assert failed(world) == EXCEEDED


def test_the_active_time_is_written_every_ten_minutes_only():
    world = world_after()
    world.place("resolve")
    world.settle()
    writes = 0
    for _ in range(60):
        world.now += timedelta(minutes=1)
        writes += world.reconcile().status is not None
    assert writes == 6


# The stages -----------------------------------------------------------------------------------------------------------


def limited(kind: str, **limits: Any) -> list[dict[str, Any]]:
    return [{"kind": kind, **limits}]


def test_an_object_that_somebody_deletes_each_minute_does_not_prolong_the_time_without_a_running_pod():
    world = world_after("resolve", "prepare/prompts", preRunningDeadlineSeconds=600)
    for _ in range(11):
        world.objects = {ref: o for ref, o in world.objects.items() if ref.kind != "Service"}
        pass_minutes(world, 1)
    assert world.stage("serve/ada").reason == EXCEEDED


def test_a_stage_that_runs_for_too_long_fails():
    world = world_after(stageDeadlines=limited("resolve", activeDeadlineSeconds=3600))
    pass_minutes(world, 300)
    assert not failed(world), "time without a node does not count"
    world.place("resolve")
    pass_minutes(world, 59)
    assert world.reconcile().requeue_seconds == 61
    pass_minutes(world, 2)
    assert (world.stage("resolve").state, world.stage("resolve").reason) == ("Failed", EXCEEDED)
    assert "spec.stageDeadlines[resolve].activeDeadlineSeconds: 3600" in world.condition("Failed")[2]
    assert not world.workloads()


def test_the_deadline_of_a_stage_counts_each_attempt():
    world = World(make_run(stageDeadlines=limited("sft", activeDeadlineSeconds=3600)))
    world.run_until("sft")
    for _ in range(3):
        world.place("sft")
        pass_minutes(world, 50)
        world.fail("sft", {"exitCode": 130})
        world.settle()
        world.pass_time(seconds=10)
    assert not failed(world)
    assert world.stage("sft").attempt == 3


def test_a_deadline_can_be_set_on_a_stage_that_runs():
    world = world_after()
    world.place("resolve")
    pass_minutes(world, 90)
    world.change_spec(stageDeadlines=limited("resolve", activeDeadlineSeconds=3600))
    assert world.stage("resolve").reason == EXCEEDED


@pytest.mark.parametrize("field", ["run", "stage"])
def test_a_stage_that_gets_no_running_pod_fails(field):
    deadline = {"preRunningDeadlineSeconds": 3600}
    world = world_after(**(deadline if field == "run" else {"stageDeadlines": limited("resolve", **deadline)}))
    pod = world.place("resolve")
    pod["status"] = {"phase": "Pending", "conditions": [UNSCHEDULABLE]}
    world.settle()
    pass_minutes(world, 59)
    assert not failed(world)
    pass_minutes(world, 2)
    assert (world.stage("resolve").state, world.stage("resolve").reason) == ("Failed", EXCEEDED)
    assert "Unschedulable: 0/9 nodes" in world.condition("Failed")[2]


def test_a_training_with_a_pod_that_does_not_run_fails():
    world = World(make_run(preRunningDeadlineSeconds=3600))
    world.run_until("sft")
    world.place("sft")
    pass_minutes(world, 61)
    assert world.stage("sft").reason == EXCEEDED


def queue(world: World) -> None:
    world.place("resolve")["status"] = {"phase": "Pending", "conditions": [GATED]}


def suspended_by_kueue(world: World) -> None:
    world.workloads()["resolve"]["spec"]["suspend"] = True


@pytest.mark.parametrize("how", [queue, suspended_by_kueue])
def test_time_in_a_queue_does_not_count(how):
    world = world_after(preRunningDeadlineSeconds=600)
    how(world)
    pass_minutes(world, 300)
    assert not failed(world)
    assert world.stage("resolve").pending_since is None


def test_a_stage_that_runs_again_starts_again_at_zero():
    world = world_after(preRunningDeadlineSeconds=3600)
    pass_minutes(world, 50)
    assert world.stage("resolve").pending_since is not None
    pod = world.place("resolve")
    world.settle()
    assert world.stage("resolve").pending_since is None
    pod["status"] = {"phase": "Pending", "startTime": format_time(world.now)}
    world.settle()
    pass_minutes(world, 50)
    assert not failed(world)
    pass_minutes(world, 15)
    assert world.stage("resolve").reason == EXCEEDED


def test_a_server_that_gets_no_node_fails():
    world = world_after("resolve", "prepare/prompts", preRunningDeadlineSeconds=3600)
    pass_minutes(world, 61)
    assert world.stage("serve/ada").reason == EXCEEDED
