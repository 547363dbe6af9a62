"""A pod on a lost node is force-deleted after some time, so that its stage continues."""

from datetime import timedelta

import pytest

from fusionrun.api.status.conditions import Reason
from fusionrun.state.observe.object_fields import format_time
from fusionrun.state.observe.object_ref import ref_of
from support.runs import make_run
from support.world import World


def terminating() -> tuple[World, dict]:
    """Return a world in which the grace period of a pod is over."""
    world = World(make_run())
    world.run_until("resolve")
    pod = world.place("resolve", deletionTimestamp=format_time(world.now))
    world.settle()
    return world, pod


def test_a_pod_that_does_not_end_is_force_deleted_after_five_minutes():
    world, pod = terminating()
    world.now += timedelta(seconds=299)
    decision = world.reconcile()
    assert ref_of(pod) not in decision.delete
    assert decision.requeue_seconds == 1.0
    world.now += timedelta(seconds=1)
    assert world.reconcile().delete == (ref_of(pod),)
    assert world.reconcile().delete == ()


@pytest.mark.parametrize("phase", ["Succeeded", "Failed", "Running"])
def test_a_pod_that_has_ended_or_is_not_deleted_is_not_lost(phase):
    world, pod = terminating()
    pod["status"]["phase"] = phase
    if phase == "Running":
        del pod["metadata"]["deletionTimestamp"]
    world.now += timedelta(days=9)
    assert world.reconcile().delete == ()


def test_the_next_decision_is_when_the_first_pod_is_due():
    world, first = terminating()
    first["metadata"]["deletionTimestamp"] = format_time(world.now + timedelta(seconds=100))
    world.place("resolve", deletionTimestamp=format_time(world.now))
    assert world.reconcile().requeue_seconds == 300.0


def lost_training(monkeypatch, **changes) -> tuple[World, dict]:
    """Return a world with a training whose node is lost: its pod stays when its PyTorchJob is deleted."""
    training = {"nodes": 1, "processesPerNode": 4, "resources": {"limits": {"nvidia.com/gpu": 4}}}
    world = World(make_run(training=training, **changes))
    world.run_until("sft")
    pod = world.place("sft")
    world.settle()
    monkeypatch.setattr(World, "_delete_pods", lambda *_: None)
    pod["metadata"]["deletionTimestamp"] = format_time(world.now)
    return world, pod


def test_a_pod_of_a_deleted_attempt_is_force_deleted_so_that_the_next_attempt_gets_its_gpus(monkeypatch):
    """The operator deletes an attempt with a deleted pod; the kubelet of a lost node does not confirm that it ended."""
    world, pod = lost_training(monkeypatch, scheduling={"gpuBudget": 4})
    world.settle()
    world.pass_time(seconds=299)
    assert world.stage("sft").reason == Reason.WAITING_FOR_GPUS
    world.pass_time(seconds=1)
    assert ref_of(pod) not in world.objects
    assert world.workloads()["sft"]["metadata"]["name"].endswith("-r1")


def test_the_gpu_time_of_a_finished_run_ends_with_its_lost_pods(monkeypatch):
    world, pod = lost_training(monkeypatch, activeDeadlineSeconds=60)
    world.pass_time(minutes=2)
    assert (world.condition("Failed")[0], world.status.gpus_in_use) == ("True", 4)
    assert world.reconcile().requeue_seconds == 180.0
    world.pass_time(minutes=3)
    assert ref_of(pod) not in world.objects
    world.pass_time(hours=1)
    assert (world.status.gpus_in_use, world.status.gpu_seconds) == (0, 4 * 5 * 60)
