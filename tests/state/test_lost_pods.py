"""A pod on a lost node is force-deleted after some time, so that its stage continues."""

from datetime import timedelta

import pytest

from fusionrun.state.observe.object_fields import format_time
from fusionrun.state.observe.object_ref import ref_of
from support.runs import make_run
from support.world import World


def terminating(stage: str = "resolve") -> tuple[World, dict]:
    """Return a world in which the grace period of a pod is over."""
    world = World(make_run())
    world.run_until(stage)
    pod = world.place(stage, deletionTimestamp=format_time(world.now))
    world.settle()
    return world, pod


@pytest.mark.parametrize("stage", ["resolve", "sft"])
def test_a_pod_that_does_not_end_is_force_deleted_after_five_minutes(stage):
    world, pod = terminating(stage)
    world.now += timedelta(seconds=299)
    assert ref_of(pod) not in world.reconcile().delete
    world.now += timedelta(seconds=1)
    assert world.reconcile().delete == (ref_of(pod),)
    assert world.reconcile().delete == ()


def test_the_run_is_reconciled_when_the_pod_is_due():
    world, _ = terminating()
    world.now += timedelta(seconds=100)
    assert world.reconcile().requeue_seconds == 200.0


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_has_ended_is_not_lost(phase):
    world, pod = terminating()
    pod["status"]["phase"] = phase
    world.now += timedelta(hours=1)
    assert world.reconcile().delete == ()


def test_a_running_pod_is_never_lost():
    world, pod = terminating()
    del pod["metadata"]["deletionTimestamp"]
    world.now += timedelta(days=9)
    assert world.reconcile().delete == ()
