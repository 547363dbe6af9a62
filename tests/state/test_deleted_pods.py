"""A deleted pod of a training restarts the whole attempt, and a pod that the operator or Kueue stopped does not."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fusionrun.api.status.conditions import Reason
from fusionrun.state.decide.run import decide
from fusionrun.state.observe.late_workloads import LATE_SECONDS
from fusionrun.state.observe.object_fields import format_time
from fusionrun.state.observe.object_ref import ref_of
from support.runs import make_run
from support.world import World

BACKENDS = ["PyTorchJob", "Job", "TrainJob"]
DISRUPTION = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "drained"}


def training(backend: str = "PyTorchJob", **changes: Any) -> tuple[World, list[dict[str, Any]]]:
    """Return a world in which the two pods of ``sft`` run, and the pods."""
    world = World(make_run(training={"nodes": 2, "backend": backend}, **changes))
    world.run_until("sft")
    pods = [world.place("sft", creationTimestamp=format_time(world.now)) for _ in range(2)]
    world.settle()
    return world, pods


def delete(world: World, pod: dict[str, Any]) -> None:
    """Let somebody delete a pod, which ends after its grace period."""
    pod["metadata"]["deletionTimestamp"] = format_time(world.now + timedelta(seconds=30))


def attempt(world: World) -> int:
    return world.stage("sft").attempt or 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_deleted_pod_restarts_all_pods_from_the_last_checkpoint(backend):
    world, (_, worker) = training(backend)
    first = world.workloads()["sft"]
    delete(world, worker)
    worker["status"]["conditions"] = [DISRUPTION]
    world.settle()
    name = first["metadata"]["name"]
    assert ref_of(first) not in world.objects, "its pods hold no GPUs until the next attempt starts"
    stage = world.stage("sft")
    assert (stage.state, stage.reason, stage.disruptions, stage.failures) == ("Waiting", Reason.BACK_OFF, 1, None)
    text = (
        f"pod {worker['metadata']['name']} was deleted (EvictionByEvictionAPI: drained): "
        "all pods of the attempt start again, from the last checkpoint"
    )
    assert text in stage.message
    world.pass_time(seconds=9)
    assert "sft" not in world.workloads()
    world.pass_time(seconds=1)
    assert world.workloads()["sft"]["metadata"]["name"] == f"{name}-r1"
    assert attempt(world) == 1
    assert [text in e.message for e in world.events if e.reason == Reason.STAGE_RETRIED] == [True]
    world.settle()
    assert world.reconcile().create == ()
    world.complete()
    assert world.stage("sft").attempt == 1


def test_an_attempt_whose_deletion_no_watch_reports_is_read_soon():
    world, (_, worker) = training("TrainJob")
    first = world.workloads()["sft"]
    delete(world, worker)
    world.settle()
    deleted = {**first, "metadata": first["metadata"] | {"deletionTimestamp": format_time(world.now)}}
    world.objects[ref_of(first)] = deleted
    world.pass_time(seconds=60)
    assert 0 < (world.reconcile().requeue_seconds or 0) <= LATE_SECONDS
    assert f"pod {worker['metadata']['name']} was deleted" in world.stage("sft").message
    del world.objects[ref_of(first)]
    world.settle()
    assert attempt(world) == 1
    (event,) = (event for event in world.events if event.reason == Reason.STAGE_RETRIED)
    assert f"pod {worker['metadata']['name']} was deleted" in event.message


def test_a_pod_that_replaces_a_deleted_one_restarts_all_pods():
    """The training operator creates a deleted pod again, alone. A forced deletion shows nothing else."""
    world, (master, worker) = training()
    master["status"]["containerStatuses"][0]["state"] = {"running": {"startedAt": format_time(world.now)}}
    worker["metadata"]["creationTimestamp"] = format_time(world.now + timedelta(seconds=59))
    world.pass_time(seconds=59)
    assert attempt(world) == 0, "a quota may delay a pod"
    worker["metadata"]["creationTimestamp"] = format_time(world.now + timedelta(seconds=1))
    world.pass_time(seconds=1)
    assert "sft" not in world.workloads()
    assert "replaces a pod that was deleted" in world.stage("sft").message


def suspended(world: World) -> None:
    """Kueue suspends the workload; its controller deletes the pods."""
    spec = world.workloads()["sft"]["spec"]
    spec.get("runPolicy", spec)["suspend"] = True


def resumed(world: World) -> None:
    """Kueue has resumed the workload, while pods from before still terminate."""
    since = {
        "type": "Suspended",
        "status": "False",
        "lastTransitionTime": format_time(world.now + timedelta(seconds=5)),
    }
    world.workloads()["sft"]["status"] = {"conditions": [since]}


def peer_failed(world: World) -> None:
    """A pod has failed by itself; the controller deletes the other one before it reports the failure."""
    (pod, *_) = [p for p in world.of_kind("Pod") if p["metadata"]["name"].startswith("tiny-sft")]
    pod["status"] |= {"phase": "Failed", "containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": 1}}}]}


def peer_succeeded(world: World) -> None:
    """Rank 0 has succeeded; the training operator deletes the workers before it reports the success."""
    (pod, *_) = [p for p in world.of_kind("Pod") if p["metadata"]["name"].startswith("tiny-sft")]
    pod["status"] |= {"phase": "Succeeded", "containerStatuses": []}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("cause", [suspended, resumed, peer_failed, peer_succeeded], ids=lambda c: c.__name__)
def test_a_pod_that_its_controller_deleted_restarts_nothing(backend, cause):
    world, (_, worker) = training(backend)
    delete(world, worker)
    cause(world)
    decision = world.reconcile()
    assert (decision.create, decision.delete) == ((), ())
    assert attempt(world) == 0


def test_the_workload_is_read_again_before_a_deleted_pod_counts():
    """The watch of workloads may be behind that of pods: Kueue may have suspended the workload."""
    world, (_, worker) = training()
    delete(world, worker)
    stale = world.live()
    suspended(world)
    decision = decide(stale, world.settings, world.now)
    assert [ref.kind for ref in decision.list_pods] == ["PyTorchJob"]
    assert (decision.create, decision.delete) == ((), ())


def test_the_pod_that_was_deleted_first_is_named():
    """The Job controller then deletes the others."""
    world, (first, second) = training("Job")
    delete(world, second)
    first["metadata"]["deletionTimestamp"] = format_time(world.now + timedelta(seconds=31))
    world.reconcile()
    assert f"pod {second['metadata']['name']} was deleted: " in world.stage("sft").message


def test_pods_of_a_suspended_run_are_deleted_and_start_at_the_same_attempt():
    world, _ = training("Job")
    world.change_spec(suspend=True)
    assert "sft" not in world.workloads()
    world.change_spec(suspend=False)
    assert attempt(world) == 0
    world.complete()


def test_an_attempt_that_could_not_be_deleted_at_first_does_not_go_on_with_the_new_pod():
    world, (_, worker) = training("Job")
    delete(world, worker)
    live = replace(world.live(), pods_listed=frozenset({ref_of(world.workloads()["sft"])}))
    world.carry_out(replace(decide(live, world.settings, world.now), delete=()))
    assert (world.stage("sft").reason, "sft" in world.workloads()) == (Reason.BACK_OFF, True)
    del worker["metadata"]["deletionTimestamp"]  # the Job controller has replaced the pod
    world.settle()
    assert (world.stage("sft").reason, "sft" in world.workloads()) == (Reason.BACK_OFF, False)
    world.pass_time(seconds=10)
    assert (attempt(world), world.stage("sft").disruptions) == (1, 1)


def test_an_earlier_attempt_that_still_runs_is_deleted():
    """An operator that was killed after it had created the next attempt has not deleted the earlier one."""
    world, (_, worker) = training("Job")
    before = dict(world.objects)
    delete(world, worker)
    world.settle()
    world.pass_time(seconds=10)
    world.objects |= {ref: o for ref, o in before.items() if ref not in world.objects}
    deleted = {(ref.kind, ref.name) for ref in world.reconcile().delete}
    name = worker["metadata"]["name"].rpartition("-")[0]
    assert deleted == {("Job", name), ("Service", name)}


def test_a_stage_that_cannot_start_again_releases_its_gpus():
    world, (_, worker) = training()
    world.run["spec"]["scheduling"] = {"priorityClassName": "gone"}
    world.absent.add("gone")
    first = world.workloads()["sft"]
    delete(world, worker)
    world.settle()
    assert ref_of(first) not in world.objects
    world.pass_time(seconds=10)
    assert world.stage("sft").reason == "PriorityClassMissing"
    world.absent.clear()
    world.complete()


def test_an_attempt_that_was_deleted_after_an_earlier_one_failed_is_followed_by_the_next_one():
    """The object of the earlier attempt is kept, for its log."""
    world, _ = training()
    world.fail("sft", {"exitCode": 130})
    world.pass_time(seconds=10)
    world.settle()
    delete(world, world.place("sft"))
    world.settle()
    stage = world.stage("sft")
    assert (stage.reason, stage.attempt, stage.failures, stage.disruptions) == (Reason.BACK_OFF, 1, 1, 1)
    assert stage.message.startswith("attempt 2 failed: pod ")
    world.pass_time(seconds=20)
    assert attempt(world) == 2
    assert world.workloads()["sft"]["metadata"]["name"].endswith("-r2")
    world.complete()


def test_a_deleted_attempt_that_still_terminates_keeps_the_message_of_its_failure():
    world, (_, worker) = training()
    first = dict(world.workloads()["sft"])
    delete(world, worker)
    world.settle()
    message = world.stage("sft").message
    first["metadata"] = first["metadata"] | {"deletionTimestamp": format_time(world.now)}
    world.objects[ref_of(first)] = first
    world.settle()
    assert (world.stage("sft").reason, world.stage("sft").message) == (Reason.BACK_OFF, message)


def test_other_jobs_replace_their_pods_themselves():
    world = World(make_run())
    world.run_until("construct")
    pod = world.place("construct")
    delete(world, pod)
    assert world.reconcile().create == ()
    assert world.workloads()["construct"]
