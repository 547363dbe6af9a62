"""Objects of a running stage that somebody else deleted, scaled or changed."""

import copy
import json
import random
from dataclasses import dataclass, field

import pytest

from fusionrun import names
from fusionrun.api.status.conditions import Reason
from fusionrun.state.observe.live_objects import Refusal
from fusionrun.state.observe.object_fields import stage_of
from fusionrun.state.observe.object_ref import ObjectRef, ref_of
from support.runs import make_run
from support.world import World, with_complete, world_after


def only(world: World, kind: str, stage: str | None = None):
    return next(o for o in world.of_kind(kind) if stage in (None, stage_of(o)))


def delete(world: World, manifest) -> None:
    del world.objects[ref_of(manifest)]


def events(world: World, reason: Reason) -> list[tuple[str, str]]:
    return [(e.type, e.message) for e in world.events if e.reason == reason]


def generating() -> World:
    """Return a world in which the server of ada is Ready and its client runs."""
    world = world_after("resolve", "prepare/prompts", "serve/ada", scheduling={"maxServers": 1})
    world.place("generate/ada")
    world.settle()
    return world


def without_time(manifest):
    kept = copy.deepcopy(manifest)
    kept["metadata"].pop("creationTimestamp")
    return kept


@pytest.mark.parametrize(
    ("kind", "stage"),
    [("Service", "serve/ada"), ("ConfigMap", "generate/ada"), ("NetworkPolicy", None)],
)
def test_a_deleted_object_of_a_running_stage_is_created_again(kind, stage):
    world = generating()
    workloads = copy.deepcopy(world.workloads())
    kept = only(world, kind, stage)
    delete(world, kept)
    decision = world.reconcile()
    assert without_time(only(world, kind, stage)) == without_time(kept)
    assert {m["kind"] for m in decision.create} == {kind}
    ((level, message),) = events(world, Reason.OBJECT_RESTORED)
    assert level == "Warning"
    assert f"{kind} {kept['metadata']['name']} was deleted; the operator creates it again" in message
    world.settle()
    assert world.workloads() == workloads
    assert len(events(world, Reason.OBJECT_RESTORED)) == 1
    world.complete()


def test_a_service_is_made_for_the_pods_of_the_deployment_of_another_release():
    world = generating()
    selector = {"app": "labels-of-another-release"}
    only(world, "Deployment")["spec"]["selector"] = {"matchLabels": selector}
    delete(world, only(world, "Service"))
    world.settle()
    assert only(world, "Service")["spec"]["selector"] == selector


def test_a_deleted_task_that_this_release_would_make_otherwise_restarts_the_stage_when_a_pod_needs_it():
    world = generating()
    job = world.workloads()["generate/ada"]
    job["metadata"]["annotations"][names.ANNOTATION_TASK] = "0" * 64
    delete(world, only(world, "ConfigMap", "generate/ada"))
    world.settle()
    assert "starts again if it needs another pod" in world.stage("generate/ada").message
    assert world.workloads()["generate/ada"] is job
    world.place("generate/ada")["status"]["phase"] = "Pending"
    world.settle()
    again = world.workloads()["generate/ada"]
    assert again["metadata"]["annotations"] != job["metadata"]["annotations"]
    assert world.stage("generate/ada").attempt is None
    world.complete()


def test_an_object_that_cannot_be_created_again_delays_no_other_stage():
    world = generating()
    delete(world, only(world, "Service"))
    world.refusals["Service:serve.ada"] = Refusal(403, "exceeded quota: services")
    decision = world.reconcile()
    assert decision.requeue_seconds == 30.0
    assert world.stage("serve/ada").state == "Ready"
    assert "exceeded quota: services" in world.stage("serve/ada").message
    world.finish("prepare/benchmarks")
    world.settle()
    assert world.stage("prepare/benchmarks").state == "Succeeded"
    world.refusals.clear()
    world.complete()


def scaled_to_0(world):
    only(world, "Deployment")["spec"]["replicas"] = 0
    only(world, "Deployment")["status"] = {}


def other_selector(world):
    only(world, "Service")["spec"]["selector"] = {"app": "mirror"}


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [(scaled_to_0, "Deployment", "was scaled to 0 replicas"), (other_selector, "Service", "does not select the pods")],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_changed_object_is_made_again_at_most_every_ten_minutes(change, kind, says):
    """A tool that changes it each time, such as one that scales Deployments down, must not cause endless work."""
    world = generating()
    wanted = copy.deepcopy(only(world, kind)["spec"])
    change(world)
    world.settle()
    stage = world.stage("serve/ada")
    assert (stage.state, stage.reason) == ("Running", Reason.OBJECT_CHANGED)
    assert says in stage.message
    assert says in world.condition("Ready")[2]
    assert len(events(world, Reason.OBJECT_CHANGED)) == 1
    assert 0 < world.reconcile().requeue_seconds <= 600
    assert only(world, kind)["spec"] != wanted
    world.pass_time(minutes=10)
    assert only(world, kind)["spec"] == wanted
    world.serve("ada")
    assert world.stage("serve/ada").reason == Reason.SERVER_READY
    change(world)
    world.settle()
    assert only(world, kind)["spec"] != wanted
    world.pass_time(minutes=10)
    world.complete()
    assert world.stage("generate/ada").attempt is None


def another_template(world):
    only(world, "Deployment")["metadata"]["annotations"] = {names.ANNOTATION_REVISION: "2"}


def scaled_to_3(world):
    only(world, "Deployment")["spec"]["replicas"] = 3


@pytest.mark.parametrize(
    ("change", "says"),
    [(another_template, "was changed (its pod template)"), (scaled_to_3, "was scaled (3 replicas, not 1)")],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_change_that_does_not_stop_a_server_is_reported(change, says):
    world = generating()
    change(world)
    delete(world, only(world, "Service"))
    world.settle()
    stage = world.stage("serve/ada")
    assert (stage.state, stage.reason) == ("Ready", Reason.OBJECT_CHANGED)
    assert says in stage.message
    assert len(events(world, Reason.OBJECT_CHANGED)) == 1
    assert only(world, "Service"), "and what was deleted is created again"
    delete(world, only(world, "Deployment"))
    world.serve("ada")
    assert world.stage("serve/ada").reason == Reason.SERVER_READY
    world.complete()


def test_a_changed_number_of_replicas_in_the_spec_is_no_change_by_others():
    """A running server keeps those that it was created with."""
    world = generating()
    spec = copy.deepcopy(world.run["spec"]["sources"])
    spec[0]["served"]["replicas"] = 3
    world.change_spec(sources=spec)
    assert (world.stage("serve/ada").state, world.stage("serve/ada").reason) == ("Ready", Reason.SERVER_READY)
    assert events(world, Reason.OBJECT_CHANGED) == []
    delete(world, only(world, "Deployment"))
    world.settle()
    assert only(world, "Deployment")["spec"]["replicas"] == 3
    world.complete()


def test_a_changed_network_policy_is_reported_once():
    world = generating()
    policy = next(o for o in world.of_kind("NetworkPolicy") if o["metadata"]["name"] == "tiny-network")
    policy["metadata"]["generation"] = 2
    world.settle()
    text = "NetworkPolicy tiny-network was changed: delete it to have it created again"
    assert world.stage("generate/ada").message == text
    assert events(world, Reason.OBJECT_CHANGED) == [("Warning", text)]
    world.pass_time(minutes=5)
    assert len(events(world, Reason.OBJECT_CHANGED)) == 1
    delete(world, policy)
    world.settle()
    assert world.stage("generate/ada").message is None
    world.complete()


def test_a_job_that_was_scaled_to_0_is_reported():
    world = world_after("resolve")
    world.workloads()["prepare/prompts"]["spec"]["parallelism"] = 0
    world.settle()
    assert "was scaled to 0 pods" in world.stage("prepare/prompts").message


@pytest.mark.parametrize("done", [False, True])
def test_an_earlier_attempt_that_runs_again_is_deleted(done):
    world = World(make_run())
    world.run_until("sft")
    first = world.workloads()["sft"]
    world.fail("sft", {"exitCode": 130})
    world.pass_time(seconds=10)
    assert world.stage("sft").attempt == 1
    if done:
        world.finish_in_turn("sft")
    first["status"] = {}
    world.settle()
    assert ref_of(first) not in world.objects
    world.complete()


def without_resolve(world: World) -> dict[str, str]:
    """Delete the result of resolve, and its Job with its pods, as a tool that deletes completed Jobs does."""
    result = world.objects[ObjectRef("v1", "ConfigMap", "lab", "tiny-resolved")]
    for ref in [r for r in world.objects if "-resolve" in r.name]:
        del world.objects[ref]
    return result["data"]


COMPLETE = {
    "no artifact": lambda stage: False,
    "some artifacts": lambda stage: "ada" in stage or stage == "evaluate/base",
    "the data set": lambda stage: stage in ("construct", "evaluate/base", "verify/eval-base.coding"),
}


@pytest.mark.parametrize("complete", COMPLETE.values(), ids=COMPLETE)
@pytest.mark.parametrize("moment", ["prepare/benchmarks", "sft", "evaluate/final"])
def test_the_result_of_resolve_is_made_again_from_the_status(complete, moment):
    world = World(make_run(), answer=with_complete(complete))
    world.run_until(moment)
    made, status = list(world.started), copy.deepcopy(world.run["status"])
    data = without_resolve(world)
    world.settle()
    assert world.objects[ObjectRef("v1", "ConfigMap", "lab", "tiny-resolved")]["data"] == data
    assert world.started == made
    assert world.run["status"] == status
    assert status["pins"] == json.loads(data["pins.json"])
    world.complete()


def test_the_result_of_resolve_is_not_made_from_other_pins():
    world = World(make_run())
    world.run_until("sft")
    without_resolve(world)
    world.run["status"]["pins"][0] = "0" * 12
    world.run["status"]["pins"][1] = "1" * 12
    world.settle()
    assert world.condition("Ready")[1] == Reason.ACCEPTED_SPEC_CHANGED
    assert "tiny-resolved" not in {ref.name for ref in world.objects}


@dataclass
class Meddled(World):
    """A world in which somebody deletes any objects of the run between two events, with the pods of a workload."""

    chance: random.Random = field(default_factory=random.Random)

    def meddle(self) -> None:
        owned = sorted(ref for ref in self.objects if ref.kind != "Pod")
        for ref in self.chance.sample(owned, min(len(owned), self.chance.randint(0, 3))):
            self._delete_pods(self.objects.pop(ref))

    def step(self) -> bool:
        self.meddle()
        self.settle()
        moved = super().step()
        if self.chance.random() < 0.3:  # some of what has just ended
            self.meddle()
        return moved


@pytest.mark.parametrize("seed", range(4))
def test_a_run_completes_whatever_objects_others_delete(seed):
    parts = {"publish": {"uri": "pvc://fusion-data/out"}, "preflight": {"enabled": True}}
    world = Meddled(make_run(**parts), chance=random.Random(seed))
    world.complete()
    assert not world.of_kind("Deployment", "Service")
    assert {s.attempt for s in world.status.stages} == {None}
