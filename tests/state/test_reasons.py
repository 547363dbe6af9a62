"""The causes of reasons, and the events of a run."""

import pytest

from fusionrun.api.status.conditions import Reason
from support.runs import make_run
from support.world import World, world_after


def test_a_running_run_is_reconciling():
    world = world_after()
    assert world.condition("Ready") == ("False", Reason.STAGES_RUNNING, "running: resolve")
    assert world.condition("Reconciling")[:2] == ("True", "StagesRunning")
    assert world.condition("Stalled")[0] == "False"


@pytest.mark.parametrize(
    ("field", "absent", "reason"),
    [
        ("storage.claimName", "fusion-data", Reason.CLAIM_MISSING),
        ("training.backend", "pytorchjobs.kubeflow.org", Reason.TRAINING_OPERATOR_MISSING),
        ("scheduling.sandboxRuntimeClassName", "isolated", Reason.RUNTIME_CLASS_MISSING),
        ("scheduling.priorityClassName", "high", Reason.PRIORITY_CLASS_MISSING),
        ("scheduling.queueName", "research", Reason.LOCAL_QUEUE_MISSING),
        ("scheduling.cpuQueueName", "small", Reason.LOCAL_QUEUE_MISSING),
        ("scheduling.workloadPriorityClassName", "urgent", Reason.PRIORITY_CLASS_MISSING),
    ],
)
def test_a_missing_prerequisite_is_waited_for_and_named(field, absent, reason):
    section, _, key = field.partition(".")
    scheduling = {"queueName": "team", key: absent} if section == "scheduling" else {}
    training = {"backend": "PyTorchJob"} if key == "backend" else {}
    world = World(make_run(scheduling=scheduling, training=training), absent={absent})
    decision = world.reconcile()
    status, found, message = world.condition("Ready")
    assert (status, found) == ("False", reason)
    value = "PyTorchJob" if key == "backend" else absent
    assert message.startswith(f"spec.{field}: {value!r}: ")
    assert decision.requeue_seconds == world.settings.missing_seconds
    assert not world.objects
    world.absent.clear()
    world.complete()


def test_missing_kueue_is_reported_instead_of_its_queue():
    world = World(make_run(scheduling={"queueName": "research"}), absent={"research", "kueue.x-k8s.io"})
    world.settle()
    _, reason, message = world.condition("Ready")
    assert reason == Reason.KUEUE_MISSING
    assert "the cluster does not serve the API group kueue.x-k8s.io: install Kueue" in message
    assert not world.objects
    world.absent = {"research"}
    world.settle()
    assert world.condition("Ready")[1] == Reason.LOCAL_QUEUE_MISSING
    world.absent.clear()
    world.complete()


def test_a_stage_posts_events():
    world = world_after("resolve")
    posted = [(e.type, e.reason, e.message) for e in world.events]
    assert ("Normal", Reason.STAGE_SUCCEEDED, "resolve") in posted
    started = [m for _, reason, m in posted if reason == Reason.STAGE_STARTED]
    assert started[0].startswith("resolve: Job/tiny-resolve-")
    assert any(m.startswith("prepare/prompts: Job/") for m in started)
    assert posted[0][1] != Reason.STAGE_FAILED
