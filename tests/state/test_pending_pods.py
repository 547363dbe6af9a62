"""What does not run is said to be pending, in the words of whoever holds it back, and holds no GPU."""

from datetime import timedelta

import pytest

from fusionrun.api.status import Reason
from support.runs import make_run, make_spec
from support.world import World

GPU = {"limits": {"nvidia.com/gpu": 2}}
UNSCHEDULABLE = {
    "phase": "Pending",
    "conditions": [
        {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/9 nodes: no nvidia.com/gpu",
        }
    ],
}
GATED = {
    "phase": "Pending",
    "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": "gated"}],
}


def waits(reason: str, message: str = "") -> dict:
    """Return the status of a pod on a node whose container waits."""
    waiting = {"reason": reason, "message": message}
    return {
        "phase": "Pending",
        "startTime": "2026-01-02T03:00:00Z",
        "containerStatuses": [{"name": "c", "state": {"waiting": waiting}}],
    }


def ended(at: str, phase: str = "Succeeded") -> dict:
    terminated = {"exitCode": 0, "finishedAt": at}
    return {"phase": phase, "containerStatuses": [{"name": "c", "state": {"terminated": terminated}}]}


RUNS = {"phase": "Running", "containerStatuses": [{"name": "c", "state": {"running": {}}}]}


def scoring(**changes) -> World:
    """Return a world in which score/ada has its job, in two shards with two GPUs each, and no pod."""
    reward = make_spec()["rewardModel"] | {"resources": GPU}
    world = World(make_run(rewardModel=reward, **changes))
    world.finish_in_turn("resolve", "prepare/prompts", "prepare/benchmarks")
    world.serve("ada")
    world.finish_in_turn("generate/ada")
    return world


def pod(world: World, index: int, status: dict, stage: str = "score/ada", node: str = "") -> dict:
    """Give a stage a pod; return it."""
    job = world.workloads()[stage]
    name = f"{job['metadata']['name']}-{index}"
    world.add_pod(job, name, {}, {}, index)
    made = next(o for o in world.objects.values() if o["metadata"]["name"] == name and o["kind"] == "Pod")
    made["status"] = status
    made["spec"] = {"nodeName": node} if node else {}
    return made


NOW = "2026-01-02T03:04:05Z"


@pytest.mark.parametrize(
    ("statuses", "reason", "says"),
    [
        ([UNSCHEDULABLE], "PodsPending", "pod {0}: Unschedulable: 0/9 nodes: no nvidia.com/gpu"),
        ([GATED], "PodsPending", "pod {0}: SchedulingGated: gated"),
        ([waits("ContainerCreating")], "PodsPending", "pod {0}: ContainerCreating since 2026-01-02T03:00:00Z"),
        ([waits("ImagePullBackOff", "no image")], "PodsPending", "pod {0}: ImagePullBackOff: no image"),
        ([waits("CreateContainerConfigError", "no key")], "PodsPending", "pod {0}: CreateContainerConfigError: no key"),
        ([{"phase": "Pending"}], "PodsPending", "no pod is running yet"),
        ([], "PodsPending", "no pod is running yet"),
        ([ended(NOW), UNSCHEDULABLE], "PodsPending", "pod {1}: Unschedulable: 0/9 nodes: no nvidia.com/gpu"),
        ([UNSCHEDULABLE, waits("ErrImagePull", "x")], "PodsPending", "pod {1}: ErrImagePull: x"),
        (
            [waits("ContainerCreating"), UNSCHEDULABLE],
            "PodsPending",
            "pod {1}: Unschedulable: 0/9 nodes: no nvidia.com/gpu",
        ),
        ([RUNS, UNSCHEDULABLE], "PodsRunning", "pod {1}: Unschedulable: 0/9 nodes: no nvidia.com/gpu"),
        ([RUNS], "PodsRunning", None),
        ([ended(NOW)], "PodsRunning", None),  # and the next pod is about to be made
        ([ended("2026-01-02T03:00:00Z")], "PodsPending", "no pod is running yet"),
    ],
)
def test_a_stage_says_what_the_pod_waits_for_that_is_worst_off(statuses, reason, says):
    world = scoring()
    names = [pod(world, index, status)["metadata"]["name"] for index, status in enumerate(statuses)]
    world.settle()
    stage = world.stage("score/ada")
    assert (stage.state, stage.reason) == ("Running", reason)
    assert stage.message == (says.format(*names) if says else None)


@pytest.mark.parametrize(
    ("kind", "change", "says"),
    [
        ("Job", {"suspend": True}, "Job {} is suspended: waiting for admission by Kueue in LocalQueue 'research'"),
        ("PyTorchJob", {"runPolicy": {"suspend": True}}, "PyTorchJob {} is suspended: waiting for admission by Kueue "
         "in LocalQueue 'research'"),
    ],
)  # fmt: skip
def test_a_workload_that_kueue_holds_back_says_so(kind, change, says):
    world = World(make_run(scheduling={"queueName": "research"}))
    while not (found := [s for s, w in world.workloads().items() if w["kind"] == kind]):
        world.settle()
        if not any(w["kind"] == kind for w in world.workloads().values()):
            assert world.step()
    workload = world.workloads()[found[0]]
    workload["spec"] |= change
    world.settle()
    stage = world.stage(found[0])
    assert (stage.reason, stage.message) == (Reason.PODS_PENDING, says.format(workload["metadata"]["name"]))


def test_a_pod_that_kueue_gates_names_the_queue():
    world = scoring(scheduling={"queueName": "research"})
    made = pod(world, 0, GATED)
    made["metadata"]["labels"] = made["metadata"]["labels"] | {"kueue.x-k8s.io/queue-name": "research"}
    world.settle()
    assert world.stage("score/ada").message.endswith("waiting for admission by Kueue in LocalQueue 'research'")


def test_what_only_events_say_is_told_of_the_object_that_they_are_about():
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


def test_a_server_whose_pods_are_refused_says_why_and_one_that_loads_runs():
    world = World(make_run())
    world.finish_in_turn("resolve", "prepare/prompts")
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
    """Return a world in which sft is all that is at work, with a pod of this status."""
    world = World(make_run(training={"nodes": 2, "processesPerNode": 2, "resources": GPU}, **changes))
    world.run_until("sft")
    for name in [r for r in world.objects if r.kind == "Pod"]:
        del world.objects[name]
    pod(world, 0, status, "sft")
    world.events.clear()
    return world


def test_a_run_of_which_nothing_runs_says_so_once_and_holds_no_gpu():
    world = alone_with(UNSCHEDULABLE)
    decision = world.reconcile()
    assert world.condition("Ready")[1] == Reason.STAGES_RUNNING
    assert decision.requeue_seconds == 30.0
    for _ in range(3):
        world.now += timedelta(minutes=10)
        world.settle()
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


def test_a_pod_that_is_not_followed_by_the_next_is_looked_at_again():
    world = scoring()
    world.finish_in_turn("verify/ada.mathematics", "verify/ada.coding")
    pod(world, 0, ended(NOW))
    assert world.reconcile().requeue_seconds == 30.0
    assert world.stage("score/ada").reason == Reason.PODS_RUNNING
    world.now += timedelta(seconds=30)
    world.settle()
    assert world.stage("score/ada").reason == Reason.PODS_PENDING


def test_gpus_are_counted_by_pod_and_those_of_a_pending_stage_stay_reserved():
    run = make_run(scheduling={"gpuBudget": 4})
    for source in run["spec"]["sources"]:
        source["served"] |= {"resources": GPU, "tensorParallelSize": 2, "replicas": 2}
    world = World(run)
    world.finish_in_turn("resolve", "prepare/prompts", "prepare/benchmarks")
    assert world.status.gpus_in_use == 0
    assert world.stage("serve/bob").message == "spec.scheduling.gpuBudget: 4: the stage needs 4 GPUs, 4 are in use"
    world.place("serve/ada")
    world.settle()
    assert world.status.gpus_in_use == 2
    world.place("serve/ada")
    world.settle()
    assert world.status.gpus_in_use == 4
