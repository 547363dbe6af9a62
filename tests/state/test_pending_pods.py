"""Pending pods: the stage has the message of the scheduler, the kubelet or Kueue, and holds no GPU."""

from datetime import timedelta

import pytest

from fusionrun.api.status.conditions import Reason
from fusionrun.state.observe.object_fields import format_time
from fusionrun.state.observe.pending_pods import unexplained
from support.runs import make_run, make_spec
from support.world import START, World, world_after

GPU = {"limits": {"nvidia.com/gpu": 2}}
KUEUE = "waiting for admission by Kueue in LocalQueue 'research'"


def unbound(reason: str, message: str) -> dict:
    """Return the status of a pod without a node."""
    condition = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
    return {"phase": "Pending", "conditions": [condition]}


UNSCHEDULABLE = unbound("Unschedulable", "0/9 nodes: no nvidia.com/gpu")
GATED = unbound("SchedulingGated", "gated")


def waits(reason: str, message: str = "") -> dict:
    """Return the status of a pod with a waiting container."""
    waiting = {"name": "c", "state": {"waiting": {"reason": reason, "message": message}}}
    return {"phase": "Pending", "startTime": "2026-01-02T03:00:00Z", "containerStatuses": [waiting]}


def ended(at: str, phase: str = "Succeeded") -> dict:
    terminated = {"exitCode": 0, "finishedAt": at}
    return {"phase": phase, "containerStatuses": [{"name": "c", "state": {"terminated": terminated}}]}


RUNS = {
    "phase": "Running",
    "startTime": "2026-01-02T03:00:00Z",
    "containerStatuses": [{"name": "c", "state": {"running": {}}}],
}


def scoring(**changes) -> World:
    """Return a world in which score/ada has a Job for two pods with two GPUs each, and no pod."""
    reward = make_spec()["rewardModel"] | {"resources": GPU, "replicas": 2}
    before = ("resolve", "prepare/prompts", "prepare/benchmarks", "serve/ada", "generate/ada")
    return world_after(*before, rewardModel=reward, **changes)


def pod(world: World, index: int, status: dict, stage: str = "score/ada", node: str = "") -> dict:
    """Add a pod to a stage; return it."""
    job = world.workloads()[stage]
    name = f"{job['metadata']['name']}-{index}"
    world.add_pod(job, name, {}, {}, index)
    made = next(o for o in world.objects.values() if o["metadata"]["name"] == name and o["kind"] == "Pod")
    made["status"] = status
    made["spec"] |= {"nodeName": node} if node else {}
    return made


NOW = "2026-01-02T03:04:05Z"


NO_GPU = "Unschedulable: 0/9 nodes: no nvidia.com/gpu"


@pytest.mark.parametrize(
    ("statuses", "reason", "message"),
    [
        ([UNSCHEDULABLE], "PodsPending", f"pod {{0}}: {NO_GPU}"),
        ([GATED], "PodsPending", "pod {0}: SchedulingGated: gated"),
        ([waits("ContainerCreating")], "PodsPending", "pod {0}: ContainerCreating since 2026-01-02T03:00:00Z"),
        ([waits("ImagePullBackOff", "no image")], "PodsPending", "pod {0}: ImagePullBackOff: no image"),
        ([waits("CreateContainerConfigError", "no key")], "PodsPending", "pod {0}: CreateContainerConfigError: no key"),
        ([{"phase": "Pending"}], "PodsPending", "no pod is running yet"),
        ([], "PodsPending", "no pod is running yet"),
        ([ended(NOW), UNSCHEDULABLE], "PodsPending", f"pod {{1}}: {NO_GPU}"),
        ([UNSCHEDULABLE, waits("ErrImagePull", "x")], "PodsPending", "pod {1}: ErrImagePull: x"),
        ([waits("ContainerCreating"), UNSCHEDULABLE], "PodsPending", f"pod {{1}}: {NO_GPU}"),
        ([RUNS, UNSCHEDULABLE], "PodsRunning", f"pod {{1}}: {NO_GPU}"),
        ([RUNS], "PodsRunning", None),
        ([ended(NOW)], "PodsRunning", None),  # the next pod follows soon
        ([ended("2026-01-02T03:00:00Z")], "PodsPending", "no pod is running yet"),
    ],
)
def test_a_stage_reports_the_most_serious_reason_of_its_pods(statuses, reason, message):
    world = scoring()
    names = [pod(world, index, status)["metadata"]["name"] for index, status in enumerate(statuses)]
    world.settle()
    stage = world.stage("score/ada")
    assert (stage.state, stage.reason) == ("Running", reason)
    assert stage.message == (message.format(*names) if message else None)


@pytest.mark.parametrize(
    ("stage", "field", "suspended"),
    [("resolve", "cpuQueueName", {"suspend": True}), ("sft", "queueName", {"runPolicy": {"suspend": True}})],
)
def test_a_workload_waits_for_admission_by_kueue(stage, field, suspended):
    world = World(make_run(scheduling={field: "research"}, training={"processesPerNode": 2, "resources": GPU}))
    world.run_until(stage)
    workload = world.workloads()[stage]
    workload["spec"] |= suspended
    world.settle()
    message = f"{workload['kind']} {workload['metadata']['name']} is suspended: {KUEUE}"
    assert (world.stage(stage).reason, world.stage(stage).message) == (Reason.QUEUED, message)


def test_a_gated_pod_names_its_queue():
    world = scoring(scheduling={"queueName": "research"})
    made = pod(world, 0, GATED)
    made["metadata"]["labels"] = made["metadata"]["labels"] | {"kueue.x-k8s.io/queue-name": "research"}
    world.settle()
    assert world.stage("score/ada").message.endswith(KUEUE)


@pytest.mark.parametrize(("seconds", "read"), [(20, False), (29, True), (30, True)])
def test_events_are_read_at_the_first_check_although_the_job_is_younger_than_its_stage(seconds, read):
    created = format_time(START - timedelta(seconds=seconds))
    job = {"kind": "Job", "metadata": {"name": "j", "uid": "u", "creationTimestamp": created}}
    assert bool(unexplained([job], START)) is read


def test_the_message_of_an_event_names_its_object():
    world = scoring()
    job = world.workloads()["score/ada"]
    job["metadata"]["uid"] = "job"
    world.warnings = {"job": "FailedCreate: exceeded quota: gpus", "pod": "FailedAttachVolume: Multi-Attach error"}
    world.settle()
    assert world.stage("score/ada").message == f"Job {job['metadata']['name']}: FailedCreate: exceeded quota: gpus"
    made = pod(world, 0, waits("ContainerCreating"), node="n")
    made["metadata"]["uid"] = "pod"
    del world.warnings["job"]
    world.settle()
    name = made["metadata"]["name"]
    assert world.stage("score/ada").message == f"pod {name}: FailedAttachVolume: Multi-Attach error"
    made["status"] = RUNS
    world.settle()
    assert world.stage("score/ada").message is None


def test_a_server_reports_rejected_pods_and_runs_while_it_loads():
    world = world_after("resolve", "prepare/prompts")
    server = world.workloads()["serve/ada"]
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: gpus"}
    server["status"] = {"conditions": [failure]}
    world.settle()
    assert world.stage("serve/ada").reason == Reason.PODS_PENDING
    assert world.stage("serve/ada").message == "FailedCreate: exceeded quota: gpus"
    server["status"] = {}
    world.place("serve/ada")
    world.settle()
    assert world.stage("serve/ada").reason == Reason.PODS_RUNNING
    assert world.stage("serve/ada").message == "the server is loading the model and is not Ready yet"


def alone_with(status: dict, **changes) -> World:
    """Return a world in which only sft runs, with one pod."""
    world = World(make_run(training={"nodes": 2, "processesPerNode": 2, "resources": GPU}, **changes))
    world.run_until("sft")
    for name in [r for r in world.objects if r.kind == "Pod"]:
        del world.objects[name]
    pod(world, 0, status, "sft")
    world.events.clear()
    return world


def test_a_pending_run_posts_one_event_and_holds_no_gpu():
    world = alone_with(UNSCHEDULABLE)
    decision = world.reconcile()
    assert world.condition("Ready")[1] == Reason.STAGES_RUNNING
    assert decision.requeue_seconds == 30.0
    for _ in range(3):
        world.pass_time(minutes=10)
        assert world.reconcile().requeue_seconds == 60.0
        status, reason, message = world.condition("Ready")
        assert (status, reason) == ("False", Reason.PODS_PENDING)
        assert message.startswith("sft: pod ")
        assert "Unschedulable: 0/9 nodes: no nvidia.com/gpu" in message
        assert world.status.gpus_in_use == 0
    assert [(e.type, e.reason) for e in world.events if e.reason == Reason.PODS_PENDING] == [("Warning", "PodsPending")]
    made = pod(world, 0, RUNS, "sft", node="n")
    world.settle()
    assert world.condition("Ready")[:3] == ("False", Reason.STAGES_RUNNING, "running: sft")
    assert world.status.gpus_in_use == 2
    pod(world, 1, UNSCHEDULABLE, "sft")
    world.settle()
    assert world.condition("Ready")[1] == Reason.STAGES_RUNNING
    assert "running: sft; pending: sft: pod " in world.condition("Ready")[2]
    assert world.status.gpus_in_use == 2
    made["status"] = ended(NOW)
    world.settle()
    assert world.status.gpus_in_use == 0


def test_a_stage_becomes_pending_if_no_pod_follows_the_last_one():
    world = scoring()
    world.finish_in_turn("verify/ada.mathematics", "verify/ada.coding")
    pod(world, 0, ended(NOW))
    assert world.reconcile().requeue_seconds == 10.0
    assert world.stage("score/ada").reason == Reason.PODS_RUNNING
    world.pass_time(seconds=30)
    assert world.stage("score/ada").reason == Reason.PODS_PENDING


def test_gpus_in_use_are_those_of_bound_pods_and_the_budget_is_reserved():
    sources = make_spec()["sources"]
    for source in sources:
        source["served"] |= {"resources": GPU, "tensorParallelSize": 2, "replicas": 2}
    before = ("resolve", "prepare/prompts", "prepare/benchmarks")
    world = world_after(*before, sources=sources, scheduling={"gpuBudget": 4})
    assert world.status.gpus_in_use == 0
    assert world.stage("serve/bob").message == "spec.scheduling.gpuBudget: 4: the stage needs 4 GPUs, 4 are in use"
    world.place("serve/ada")
    world.settle()
    assert world.status.gpus_in_use == 2
    world.place("serve/ada")
    world.settle()
    assert world.status.gpus_in_use == 4
