"""GPU time of a stage: the sum over its pods, each from its binding to a node to its end."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from fusionrun.state.observe.object_fields import format_time
from fusionrun.state.observe.object_ref import ref_of
from support.runs import make_run, make_spec
from support.world import START, World, world_after

GPUS = 8


def training(**changes: Any) -> World:
    """Return a world in which sft has a Job, and none of its pods has a node."""
    resources = {"limits": {"nvidia.com/gpu": GPUS}}
    world = World(make_run(training={"nodes": 1, "processesPerNode": GPUS, "resources": resources}, **changes))
    world.run_until("sft")
    return world


def spend(world: World, minutes: int) -> int:
    world.pass_time(minutes=minutes)
    return (world.stage("sft").gpu_seconds or 0) // 60


def test_a_job_without_nodes_uses_no_gpu_time():
    world = training()
    assert spend(world, 600) == 0
    world.place("sft")
    assert spend(world, 10) == GPUS * 10


def test_gpu_time_accumulates_over_a_preemption():
    world = training()
    pod = world.place("sft")
    assert spend(world, 10) == GPUS * 10
    del world.objects[ref_of(pod)]
    assert spend(world, 0) == GPUS * 10
    assert spend(world, 600) == GPUS * 10
    world.place("sft")
    assert spend(world, 5) == GPUS * 15


def test_gpu_time_is_kept_in_every_state():
    world = training()
    world.place("sft")
    spend(world, 10)
    world.change_spec(suspend=True)
    assert spend(world, 10) == GPUS * 10
    world.change_spec(scheduling={"gpuBudget": 1}, suspend=False)
    assert spend(world, 10) == GPUS * 10
    assert world.stage("sft").reason == "WaitingForGpus"
    world.change_spec(scheduling={})
    assert spend(world, 10) == GPUS * 10
    job = world.workloads()["sft"]
    job["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    assert spend(world, 1) == GPUS * 10
    assert world.stage("sft").state == "Waiting"
    del world.objects[ref_of(job)]
    world.settle()
    world.place("sft")
    assert spend(world, 5) == GPUS * 15
    world.finish_in_turn("sft")
    assert world.stage("sft").state == "Succeeded"
    assert world.stage("sft").gpu_seconds >= GPUS * 15 * 60


def test_gpu_time_of_a_server_is_kept_while_it_waits():
    sources = make_spec()["sources"]
    sources[0]["served"] |= {"resources": {"limits": {"nvidia.com/gpu": 1}}}
    world = world_after("resolve", "prepare/prompts", sources=sources)
    world.place("serve/ada")
    world.pass_time(minutes=10)
    assert world.stage("serve/ada").gpu_seconds == 600
    server = world.workloads()["serve/ada"]
    server["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    world.settle()
    assert (world.stage("serve/ada").state, world.stage("serve/ada").gpu_seconds) == ("Waiting", 600)


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [
        ({"activeDeadlineSeconds": 7200}, lambda _: 600),
        ({"activeDeadlineSeconds": 1000}, lambda now: (START - now).total_seconds() + 1000 + 1),
        ({"budget": {"maxGpuHours": 4.0}}, lambda _: (4.0 - GPUS * 10 / 60) * 3600 / GPUS),
        ({"budget": {"maxGpuHours": 1.4}}, lambda _: 60),
    ],
)
def test_a_limit_is_checked_when_it_is_due(limit, seconds):
    world = training(**limit)
    world.place("sft")
    spend(world, 10)
    assert world.reconcile().requeue_seconds == pytest.approx(seconds(world.now))


def test_every_pod_of_a_stage_counts_also_a_replaced_one_that_terminates():
    """A drained server: its new pod runs on another node while the old one has its grace period."""
    sources = make_spec()["sources"]
    sources[0]["served"] |= {"resources": {"limits": {"nvidia.com/gpu": 4}}, "tensorParallelSize": 4}
    world = world_after("resolve", "prepare/prompts", sources=sources)
    old = world.place("serve/ada")
    world.serve("ada")
    world.pass_time(hours=2)
    old["metadata"]["deletionTimestamp"] = format_time(world.now + timedelta(seconds=30))
    world.place("serve/ada")
    world.settle()
    assert world.status.gpus_in_use == 8
    del world.objects[ref_of(old)]
    world.pass_time(seconds=30)
    world.pass_time(hours=2)
    assert world.stage("serve/ada").gpu_seconds == 4 * (2 * 3600 + 30 + 2 * 3600)


def test_a_pending_shard_uses_no_gpu_time():
    reward = make_spec()["rewardModel"] | {"resources": {"limits": {"nvidia.com/gpu": 1}}}
    world = world_after("resolve", "prepare/prompts", "serve/ada", "generate/ada", rewardModel=reward)
    done = world.place("score/ada")
    done["status"] |= {"phase": "Succeeded", "containerStatuses": [finished_at(world.now + timedelta(minutes=5))]}
    pending = world.place("score/ada")
    pending["status"] = {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False"}]}
    world.pass_time(hours=30)
    assert world.stage("score/ada").gpu_seconds == 300


def finished_at(time: datetime) -> dict[str, Any]:
    return {"name": "c", "state": {"terminated": {"exitCode": 0, "finishedAt": format_time(time)}}}


def test_a_jump_of_the_clock_leaves_nothing_behind():
    world = training()
    world.place("sft")
    assert spend(world, 10) == GPUS * 10
    spend(world, 30 * 60)
    assert spend(world, -30 * 60) == GPUS * 10
    spend(world, -30 * 60)
    assert spend(world, 30 * 60) == GPUS * 10
    assert spend(world, 1) == GPUS * 11


def test_a_pod_that_terminates_after_the_end_of_the_run_still_counts():
    world = training()
    pod = world.place("sft")
    world.pass_time(minutes=10)
    world.fail("construct" if "construct" in world.workloads() else "sft", {"exitCode": 2})
    world.reconcile()
    assert world.condition("Finished")[0] == "True"
    pod["metadata"]["deletionTimestamp"] = format_time(world.now + timedelta(minutes=5))
    world.objects[ref_of(pod)] = pod
    world.now += timedelta(minutes=5)
    world.reconcile()
    assert (world.status.gpus_in_use, world.status.gpu_seconds) == (GPUS, GPUS * 15 * 60)
    pod["status"] |= {"phase": "Failed", "containerStatuses": [finished_at(world.now + timedelta(minutes=1))]}
    world.pass_time(hours=1)
    assert (world.status.gpus_in_use, world.status.gpu_seconds) == (0, GPUS * 16 * 60)
    assert world.stage("sft").gpu_usage.pods == []
    assert world.reconcile().status is None


@pytest.mark.parametrize(
    ("state", "earlier", "minutes"),
    [("Running", None, 30), ("Running", 12 * 60 * GPUS, 42), ("Waiting", 20 * 60 * GPUS, 20)],
    ids=["first attempt", "later attempt", "waiting"],
)
def test_a_run_of_release_0_2_continues_with_its_gpu_time(state, earlier, minutes):
    """It counted the first pod of the attempt, which still runs, for 20 minutes, or those of earlier attempts only."""
    world = training()
    world.place("sft")
    world.pass_time(minutes=30)
    for stage in world.run["status"]["stages"]:
        stage.pop("gpuUsage", None)
        if stage["name"] == "sft":
            stage.update(gpuSeconds=20 * 60 * GPUS, state=state, **({"earlierGpuSeconds": earlier} if earlier else {}))
    del world.run["status"]["gpusObservedTime"]
    assert spend(world, 0) == GPUS * minutes
    assert spend(world, 5) == GPUS * (minutes + 5)


def test_the_status_is_small_with_thousands_of_shards():
    reward = make_spec()["rewardModel"] | {"resources": {"limits": {"nvidia.com/gpu": 1}}}
    generation = {"shards": 4096}
    before = ("resolve", "prepare/prompts", "serve/ada")
    world = world_after(*before, rewardModel=reward, generation=generation)
    world.finish_in_turn("generate/ada")
    for _ in range(300):
        pod = world.place("score/ada")
        pod["status"] |= {"phase": "Succeeded", "containerStatuses": [finished_at(world.now + timedelta(seconds=9))]}
    world.place("score/ada")
    world.pass_time(minutes=1)
    assert world.stage("score/ada").gpu_seconds == 300 * 9 + 60
    assert len(world.stage("score/ada").gpu_usage.model_dump_json(exclude_none=True)) < 300
