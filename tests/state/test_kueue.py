"""Runs whose stages wait in a queue of Kueue, are preempted, or are ignored."""

from typing import Any

import pytest

from fusionrun.api.status.conditions import Reason
from fusionrun.plan.pinned import Feature
from fusionrun.state.observe.kueue import looked_up
from fusionrun.state.observe.object_ref import ref_of
from support.kueue import WAITS, Kueue, workload
from support.runs import make_run, make_spec
from support.world import World

GPUS = 8
RESOURCES = {"limits": {"nvidia.com/gpu": GPUS}}
BACKENDS = ("PyTorchJob", "TrainJob", "Job")
QUEUE = "waiting for admission by Kueue in LocalQueue 'research'"


def queued(quota: int = GPUS, backend: str = "PyTorchJob", **changes: Any) -> tuple[World, Kueue]:
    """Return a run whose servers and training need all the quota, and the Kueue that it runs under."""
    spec = make_spec()
    for source in spec["sources"]:
        source["served"] |= {"resources": RESOURCES, "tensorParallelSize": GPUS}
    training = {"backend": backend, "nodes": 1, "processesPerNode": GPUS, "resources": RESOURCES}
    fields = {"sources": spec["sources"], "training": training, "scheduling": {"queueName": "research"}}
    world = World(make_run(**fields | changes))
    return world, Kueue(world, quota)


def walk(world: World, kueue: Kueue, stage: str) -> dict[str, Any]:
    """Walk the run until a stage is admitted; return its object."""
    for _ in range(30):
        world.settle()
        kueue.reconcile()
        world.settle()
        found = world.workloads().get(stage)
        if found and ref_of(found) in kueue.admitted:
            return found
        assert kueue.step(), stage
    raise AssertionError(stage)


@pytest.mark.parametrize(
    ("cpu_queue", "backend"), [*((None, b) for b in BACKENDS), *(("cpu", b) for b in BACKENDS[:2])]
)
def test_a_client_does_not_wait_behind_the_next_server(cpu_queue, backend):
    """With StrictFIFO, the client of the only server that fits would wait behind the next server for ever."""
    scheduling = {"queueName": "research"} | ({"cpuQueueName": cpu_queue} if cpu_queue else {})
    world, kueue = queued(backend=backend, scheduling=scheduling)
    if cpu_queue:
        kueue.integrations = ("Deployment", backend)  # the other queue has quota for all Jobs
    walk(world, kueue, "serve/ada")
    assert [world.objects[ref]["metadata"]["labels"]["fusionrun.dev/stage"] for ref in kueue.waiting] == ["serve.bob"]
    assert (world.stage("serve/bob").state, world.stage("serve/bob").reason) == ("Running", Reason.QUEUED)
    kueue.run_to_end()
    assert world.condition("Complete")[0] == "True", world.condition("Ready")
    assert not [e for e in world.events if e.type == "Warning"]


def test_a_run_of_an_earlier_release_keeps_all_its_stages_in_the_queue():
    world, _ = queued()
    world.settle()
    assert "kueue.x-k8s.io/queue-name" not in world.workloads()["resolve"]["metadata"]["labels"]
    spec = next(o for o in world.of_kind("ConfigMap") if o["metadata"]["name"] == "tiny-spec")
    assert Feature.GPU_QUEUE in spec["data"]["features.json"]
    spec["data"]["features.json"] = "[]"
    del world.run["status"]["specDigest"]
    world.finish_in_turn("resolve")
    assert world.workloads()["prepare/prompts"]["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "research"


EVICTED = {"type": "Evicted", "status": "True", "reason": "PodsReadyTimeout", "message": "Exceeded the timeout"}
RESERVED = WAITS | {"status": "True", "reason": "QuotaReserved", "message": "in ClusterQueue a"}
TOO_LARGE = "insufficient quota for nvidia.com/gpu in flavor a, request > maximum capacity (8 > 4)"


@pytest.mark.parametrize(
    ("found", "report"),
    [
        (None, ""),
        (workload("w"), ""),
        (workload("w", WAITS), ": WaitingForQuota: 8 more needed"),
        (workload("w", WAITS | {"reason": "Pending", "message": TOO_LARGE}), f": Pending: {TOO_LARGE}"),
        (workload("w", WAITS, EVICTED), ": WaitingForQuota: 8 more needed; PodsReadyTimeout: Exceeded the timeout"),
        (
            workload("w", WAITS | {"message": "Exceeded the timeout"}, EVICTED),
            ": WaitingForQuota: Exceeded the timeout",
        ),
        (workload("w", WAITS, EVICTED | {"status": "False"}), ": WaitingForQuota: 8 more needed"),
        (
            workload("w", RESERVED, admissionChecks=[{"name": "prov", "state": "Pending", "message": "no nodes"}]),
            ": admission check prov: Pending: no nodes",
        ),
        (
            workload("w", RESERVED, {"type": "Admitted", "status": "False", "reason": "Check", "message": "not yet"}),
            ": Check: not yet",
        ),
        (
            workload("w", WAITS, EVICTED | {"reason": "Deactivated", "message": "by an admin"}, active=False),
            ": Kueue has deactivated Workload w: set its field spec.active to true to queue it again; "
            "Deactivated: by an admin",
        ),
    ],
)
def test_a_queued_stage_reports_the_conditions_of_its_workload(found, report):
    world, kueue = queued(quota=0)
    with pytest.raises(AssertionError):
        walk(world, kueue, "serve/ada")
    server = world.workloads()["serve/ada"]["metadata"]["name"]
    pod = next(p for p in world.of_kind("Pod") if p["metadata"]["name"].startswith(f"{server}-"))
    world.kueue[pod["metadata"]["uid"]] = found
    world.settle()
    stage = world.stage("serve/ada")
    assert (stage.state, stage.reason) == ("Running", Reason.QUEUED)
    assert stage.message == f"pod {pod['metadata']['name']}: SchedulingGated: {QUEUE}{report}"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_queued_training_reports_the_conditions_of_its_workload(backend):
    world, _ = queued(backend=backend)
    world.run_until("sft")
    kueue = Kueue(world, quota=GPUS - 1)
    kueue.reconcile()
    world.pass_time(minutes=1)
    made, stage = world.workloads()["sft"], world.stage("sft")
    assert looked_up([made], world.now) == [made]
    assert (stage.state, stage.reason) == ("Running", Reason.QUEUED)
    assert stage.message == f"{backend} {ref_of(made).name} is suspended: {QUEUE}: WaitingForQuota: 8 more needed"
    kueue.quota = GPUS
    kueue.run_to_end()
    assert world.condition("Complete")[0] == "True", world.condition("Ready")


def test_the_workload_of_the_reported_pod_is_looked_up():
    world, kueue = queued(quota=0)
    with pytest.raises(AssertionError):
        walk(world, kueue, "serve/ada")
    pod = next(p for p in world.of_kind("Pod") if p["metadata"]["labels"]["fusionrun.dev/stage"] == "serve.ada")
    for name in ("0", "z"):  # other replicas, whose Workloads are not read
        metadata = pod["metadata"] | {
            "name": f"{world.workloads()['serve/ada']['metadata']['name']}-{name}",
            "uid": name,
        }
        copy = pod | {"metadata": metadata}
        world.objects[ref_of(copy)] = copy
    world.kueue = {
        m["metadata"]["uid"]: workload("w", WAITS) for m in looked_up(list(world.objects.values()), world.now)
    }
    world.settle()
    assert world.stage("serve/ada").message.endswith("8 more needed")


def test_a_queued_run_is_reported_without_a_warning():
    world, kueue = queued(quota=0)
    with pytest.raises(AssertionError):
        walk(world, kueue, "serve/ada")
    world.pass_time(seconds=31)
    status, reason, message = world.condition("Ready")
    assert (status, reason) == ("False", Reason.QUEUED)
    assert "8 more needed" in message
    assert world.status.gpus_in_use == 0
    assert [e.type for e in world.events if e.reason == Reason.QUEUED] == ["Normal"]


@pytest.mark.parametrize(("stage", "backend"), [("serve/ada", "PyTorchJob"), *(("sft", b) for b in BACKENDS)])
def test_a_preempted_stage_waits_and_continues_with_the_same_attempt(stage, backend):
    world, kueue = queued(backend=backend)
    made = walk(world, kueue, stage)
    if stage == "sft":
        world.place("sft")
    else:
        world.make_ready(stage)
    world.settle()
    kueue.quota = 0
    kueue.preempt(stage)
    world.pass_time(minutes=20)
    found = world.stage(stage)
    assert (found.state, found.reason, found.attempt) == ("Running", Reason.QUEUED, None)
    # Kueue deletes a pod of a Deployment together with its Workload. The new pod has a new one.
    assert found.message.endswith("8 more needed" + ("; Preempted: for a workload of team b" if stage == "sft" else ""))
    assert world.status.gpus_in_use == 0
    kueue.quota = GPUS
    kueue.run_to_end()
    assert world.condition("Complete")[0] == "True", world.condition("Ready")
    assert made["metadata"]["name"] in {m["metadata"]["name"] for m in world.of_kind(backend)} or stage != "sft"
    assert not [e for e in world.events if e.reason == Reason.STAGE_RETRIED]


@pytest.mark.parametrize(
    ("change", "label", "value"),
    [
        ({"queueName": "other"}, "kueue.x-k8s.io/queue-name", "other"),
        ({}, "kueue.x-k8s.io/queue-name", None),
        ({"queueName": "research", "workloadPriorityClassName": "high"}, "kueue.x-k8s.io/priority-class", "high"),
    ],
)
def test_a_stage_moves_to_a_changed_queue_only_while_it_waits(change, label, value):
    world, kueue = queued()
    walk(world, kueue, "serve/ada")
    kept, waits = (world.workloads()[f"serve/{source}"] for source in ("ada", "bob"))
    world.change_spec(scheduling=change)
    assert ref_of(waits) in world.objects
    assert world.objects[ref_of(kept)] is kept
    moved = world.workloads()["serve/bob"]
    assert moved is not waits
    assert moved["metadata"]["labels"].get(label) == value
    assert world.stage("serve/bob").attempt is None
    world.complete()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_preempted_training_moves_to_a_changed_queue(backend):
    world, kueue = queued(backend=backend)
    walk(world, kueue, "sft")
    world.place("sft")
    world.settle()
    world.change_spec(scheduling={"queueName": "other"})
    kept = world.workloads()["sft"]
    assert kept["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "research", "its pods run"
    kueue.preempt("sft")
    world.settle()
    moved = world.workloads()["sft"]
    assert moved["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "other"
    assert moved["metadata"]["name"] == kept["metadata"]["name"], "it is no failed attempt"
    world.change_spec(scheduling={"queueName": "other", "cpuQueueName": "cpu"})
    assert world.workloads()["sft"] is moved, "it keeps its place in the queue"


@pytest.mark.parametrize(
    ("stage", "backend", "framework"),
    [
        ("serve/ada", "PyTorchJob", "deployment and pod"),
        ("sft", "PyTorchJob", "kubeflow.org/pytorchjob"),
        ("sft", "TrainJob", "trainer.kubeflow.org/trainjob"),
        ("sft", "Job", "batch/job"),
        ("promote", "TrainJob", "batch/job"),
    ],
)
def test_a_stage_that_kueue_ignores_runs_and_is_reported_once(stage, backend, framework):
    world, _ = queued(backend=backend)
    world.run_until(stage)
    made = world.workloads()[stage]
    made["metadata"]["uid"] = "ignored"
    world.place(stage)
    decision = world.reconcile()
    if made["kind"] != "Deployment":
        assert world.stage(stage).reason == Reason.PODS_RUNNING
        assert not looked_up([made], world.now)
        assert decision.requeue_seconds <= 30
        world.pass_time(seconds=30)
        assert looked_up([made], world.now) == [made]
        assert world.stage(stage).reason == Reason.PODS_RUNNING, "its Workload could not be read"
        world.kueue["ignored"] = None
    for _ in range(2):
        world.pass_time(minutes=1)
        found = world.stage(stage)
        assert (found.state, found.reason) == ("Running", Reason.QUEUE_IGNORED)
        assert f"add {framework} to integrations.frameworks" in found.message
        assert f"because Kueue ignores them: {stage}" in world.condition("Ready")[2]
    if made["kind"] == "Deployment":
        world.make_ready(stage)
        world.settle()
        assert (world.stage(stage).state, world.stage(stage).reason) == ("Ready", Reason.QUEUE_IGNORED)
    posted = [(e.type, e.message) for e in world.events if e.reason == Reason.QUEUE_IGNORED]
    assert [kind for kind, _ in posted] == ["Warning"]
    assert posted[0][1].startswith(f"{stage}: Kueue ignores {made['kind']} {made['metadata']['name']}")
    world.complete()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("evidence", ["workload", "resumed"])
def test_a_job_that_kueue_has_admitted_is_not_ignored(evidence, backend):
    world, _ = queued(backend=backend)
    world.run_until("sft")
    made = world.workloads()["sft"]
    made["metadata"]["uid"] = "admitted"
    world.place("sft")
    world.kueue["admitted"] = workload("w", RESERVED) if evidence == "workload" else None
    if evidence == "resumed":
        made["status"] = {"conditions": [{"type": "Suspended", "status": "False"}]}
    world.pass_time(minutes=1)
    assert world.stage("sft").reason == Reason.PODS_RUNNING
    assert bool(looked_up([made], world.now)) == (evidence == "workload")


def test_workloads_are_looked_up_only_for_objects_that_wait_or_may_be_ignored():
    world, kueue = queued(quota=0)
    with pytest.raises(AssertionError):
        walk(world, kueue, "serve/ada")
    stages = {
        m["metadata"]["labels"]["fusionrun.dev/stage"] for m in looked_up(list(world.objects.values()), world.now)
    }
    assert stages == {"serve.ada", "serve.bob"}
    world.kueue.clear()
    kueue.quota = 100
    kueue.reconcile()
    assert looked_up(list(world.objects.values()), world.now) == []
