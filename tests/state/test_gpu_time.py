"""GPU time counts from the start of pods on nodes, and is never reduced."""

from typing import Any

import pytest

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
