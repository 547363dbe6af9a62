"""What the status says about a stage that waits: for which other stage or object, and until when if that is known."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest

from fusionrun.api.results.result import Progress
from fusionrun.state.observe.live_objects import PushedProgress, Refusal
from support.nodes import Nodes
from support.runs import make_run, make_spec
from support.world import World

PREPARED = ("resolve", "prepare/prompts", "prepare/benchmarks")
TIME = r"2026-01-02 \d\d:\d0 UTC"


def world_of(*stages: str, **scheduling: int | str) -> Nodes:
    """Return a run with servers of 4 GPUs and training on 8, in which some stages have ended."""
    spec, limits = make_spec(), {"limits": {"nvidia.com/gpu": 4}}
    for server in (*(source["served"] for source in spec["sources"]), spec["evaluation"].setdefault("server", {})):
        server.update({"resources": limits, "tensorParallelSize": 4})
    spec |= {"training": {"nodes": 2, "processesPerNode": 4, "resources": limits}, "scheduling": scheduling}
    world = Nodes(make_run(**spec, publish={"uri": "pvc://fusion-data/out"}))
    world.finish_in_turn(*stages)
    return world


def placed(world: Nodes, stage: str) -> Nodes:
    world.bind(world.workloads()[stage], 1)
    world.settle()
    return world


def halfway() -> World:
    """Return a run in which half of a generation is done after an hour."""
    world = world_of(*PREPARED, "serve/ada")
    client, since = world.workloads()["generate/ada"], world.now
    client["status"] = {"startTime": client["metadata"]["creationTimestamp"], "succeeded": 1}
    world.now += timedelta(hours=1)
    world.pushed = {("generate/ada", 0): PushedProgress(Progress(done=1, total=1), world.now, since=since)}
    world.settle()
    return world


def failed() -> World:
    world = world_of("resolve")
    world.fail("prepare/prompts", {"exitCode": 130})
    world.settle()
    return world


def refused() -> World:
    world = world_of("resolve")
    world.refusals["Deployment:serve.ada"] = Refusal(403, "exceeded quota: gpus")
    world.finish_in_turn(*PREPARED[1:])
    return world


def unschedulable() -> World:
    world = placed(world_of("resolve"), "prepare/prompts")
    (pod,) = world.pods_of(world.workloads()["prepare/prompts"])
    reason = {"reason": "Unschedulable", "message": "0/9 nodes: no memory"}
    pod["status"] = {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False"} | reason]}
    world.settle()
    return world


def queued() -> World:
    world = world_of("resolve", cpuQueueName="small")
    world.workloads()["prepare/prompts"]["spec"]["suspend"] = True
    world.settle()
    return world


def terminating() -> World:
    world = world_of("resolve")
    world.terminate(world.workloads()["prepare/prompts"])
    world.settle()
    return world


CASES: dict[str, tuple[Callable[[], World], str, str, str]] = {
    "for resolve": (world_of, "prepare/prompts", "waits for resolve", ""),
    "for one of several": (lambda: world_of(*PREPARED[:2]), "serve/eval-base", "waits for prepare/benchmarks", ""),
    "for many": (
        lambda: world_of(*PREPARED),
        "construct",
        "waits for generate/ada, verify/ada.mathematics, verify/ada.coding and 5 more",
        "",
    ),
    "for a stage that runs": (halfway, "score/ada", f"waits for generate/ada until about {TIME}", ""),
    "for a server that loads": (
        lambda: placed(world_of(*PREPARED), "serve/ada"),
        "generate/ada",
        "waits for serve/ada: the server is loading the model and is not Ready yet",
        "",
    ),
    "for a server that waits": (
        lambda: world_of(*PREPARED, gpuBudget=8, maxServers=1),
        "generate/bob",
        "waits for serve/bob: WaitingForGpus",
        "running: serve/ada; waiting: serve/bob, serve/eval-base",
    ),
    "for GPUs": (
        lambda: placed(placed(world_of(*PREPARED, gpuBudget=8), "serve/ada"), "serve/bob"),
        "serve/eval-base",
        "spec.scheduling.gpuBudget: 8: the stage needs 4 GPUs, 8 are in use: "
        f"serve/(ada|bob) holds 4 until about {TIME}",
        "",
    ),
    "for a node": (
        unschedulable,
        "prepare/prompts",
        "pod tiny-prepare-prompts-.*-0: Unschedulable: 0/9 nodes: no memory",
        "",
    ),
    "for Kueue": (
        queued,
        "prepare/prompts",
        "Job tiny-prepare-prompts-.* is suspended: waiting for admission by Kueue in LocalQueue 'small'",
        "",
    ),
    "for the next attempt": (
        failed,
        "prepare/prompts",
        r"attempt 1 failed: .*; attempt 2 starts at 2026-01-02T\S+Z",
        "running: prepare/benchmarks; waiting: prepare/prompts$",
    ),
    "for quota": (refused, "serve/ada", "exceeded quota: gpus", "serve/ada: exceeded quota: gpus"),
    "for its deletion": (
        terminating,
        "prepare/prompts",
        "the last attempt was deleted, and its pods still terminate",
        "",
    ),
}


@pytest.mark.parametrize(("arrange", "stage", "message", "ready"), CASES.values(), ids=CASES)
def test_a_stage_says_what_it_waits_for(arrange, stage, message, ready):
    world = arrange()
    assert re.fullmatch(message, world.stage(stage).message or "")
    assert re.search(ready, world.condition("Ready")[2])


def test_every_stage_that_does_not_run_says_why():
    world = world_of(gpuBudget=8, maxServers=1)
    world.settle()
    while world.step():
        world.settle()
        silent = [s for s in world.status.stages if s.state in ("Pending", "Waiting") and not s.message]
        assert not silent, world.condition("Ready")
    assert world.condition("Complete")[0] == "True"


def test_a_stage_of_a_run_that_has_failed_waits_for_nothing():
    world = world_of("resolve")
    world.fail("prepare/prompts", {"exitCode": 2})
    world.settle()
    assert world.condition("Failed")[0] == "True"
    assert world.stage("construct").message is None
