"""A stalled server is replaced, at most ``backoffLimit`` times. An unavailable server is not replaced."""

from datetime import timedelta

import pytest

from fusionrun.api.pod import EXIT_SERVER_WEDGED
from fusionrun.api.results.result import Outcome, StageResult, encode_result
from fusionrun.api.status.conditions import Reason
from fusionrun.state.observe.object_fields import format_time
from fusionrun.state.observe.object_ref import ref_of
from support.world import World, world_after

MESSAGE = "server stalled: no token accepted for 600 s"
STALLED = StageResult(outcome=Outcome.FAILED, server_wedged=True, message=MESSAGE)


def generating(**changes) -> World:
    """Return a world in which generate/ada runs against its server."""
    return world_after("resolve", "prepare/prompts", "prepare/benchmarks", "serve/ada", **changes)


def stall(world: World) -> None:
    world.fail("generate/ada", {"exitCode": EXIT_SERVER_WEDGED, "message": encode_result(STALLED)})
    world.settle()


def servers(world: World) -> list[str]:
    found = [o["metadata"] for o in world.of_kind("Deployment", "Service")]
    return sorted(m["name"] for m in found if m["labels"]["fusionrun.dev/stage"] == "serve.ada")


def test_a_stalled_server_is_replaced_and_its_client_continues_with_the_new_one():
    world = generating()
    (server,) = set(servers(world))
    stall(world)
    assert servers(world) == [f"{server}-r1"] * 2
    assert world.stage("serve/ada").state == "Running"
    assert world.stage("generate/ada").reason == Reason.WAITING_FOR_SERVER
    assert "generate/ada" not in world.workloads()
    world.serve("ada")
    assert world.workloads()["generate/ada"]["metadata"]["name"].endswith("-r1")
    assert world.task("generate/ada").parameters.base_url == f"http://{server}-r1.lab.svc:8000/v1"
    assert [e.message for e in world.events if e.reason == Reason.STAGE_RETRIED] == [
        "serve/ada: server restarted: the previous server generated no tokens",
        f"generate/ada: retried: {MESSAGE}",
    ]
    world.complete()
    assert servers(world) == []


@pytest.mark.parametrize("limit", [0, 2])
def test_backoff_limit_limits_the_replacements_of_a_server(limit):
    world = generating(backoffLimit=limit)
    for _ in range(limit):
        stall(world)
        world.serve("ada")
    stall(world)
    assert (world.stage("generate/ada").state, world.stage("generate/ada").reason) == ("Failed", Reason.SERVER_WEDGED)
    assert MESSAGE in world.condition("Failed")[2]
    assert servers(world) == []
    assert sum(c == "Deployment:serve.ada" for c in world.created) == limit + 1


def test_another_failure_of_the_client_does_not_replace_the_server():
    world = generating()
    world.fail("generate/ada", {"exitCode": 130})
    world.settle()
    assert sum(c == "Deployment:serve.ada" for c in world.created) == 1
    assert world.stage("generate/ada").reason == Reason.INFRASTRUCTURE_ERROR


STALL = timedelta(seconds=600)


def placed(world: World, *, ready: bool, since: timedelta, started: bool = True, age: timedelta | None = None) -> dict:
    """Give serve/ada a pod that has been ready, or not, for some time, with a container of some age."""
    for left in [r for r in world.objects if r.kind == "Pod" and "-serve-ada-" in r.name]:
        del world.objects[left]
    pod = world.place("serve/ada")
    world.workloads()["serve/ada"]["status"] = {"readyReplicas": int(ready)}
    changed, born = format_time(world.now - since), format_time(world.now - (age or since))
    pod["status"]["conditions"] = [{"type": "Ready", "status": str(ready), "lastTransitionTime": changed}]
    pod["status"]["containerStatuses"] = [{"name": "c", "started": started, "state": {"running": {"startedAt": born}}}]
    return pod


def ready_all_along(world):
    placed(world, ready=True, since=2 * STALL)


def hangs(world):
    placed(world, ready=False, since=STALL / 2, age=2 * STALL)


def gone(world):
    world.workloads()["serve/ada"]["status"] = {"replicas": 1}


def gated(world):
    placed(world, ready=False, since=STALL)["status"] = {
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}],
    }


def drained(world):
    placed(world, ready=False, since=STALL, age=2 * STALL)["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"


def restarted_in_place(world):
    placed(world, ready=False, since=STALL / 2, age=STALL / 2)


def loading(world):
    placed(world, ready=False, since=2 * STALL, started=False)


def deleted_by_somebody(world):
    del world.objects[ref_of(world.workloads()["serve/ada"])]


@pytest.mark.parametrize("how", [ready_all_along, hangs])
def test_an_available_server_that_sends_nothing_is_replaced(how):
    world = generating()
    world.now += 3 * STALL
    how(world)
    stall(world)
    assert all(name.endswith("-r1") for name in servers(world))
    assert world.created.count("Deployment:serve.ada") == 2


@pytest.mark.parametrize("how", [gone, gated, drained, restarted_in_place, loading, deleted_by_somebody])
def test_an_unavailable_server_is_kept_and_its_client_restarts_when_it_is_ready(how):
    world = generating(backoffLimit=0)
    before = servers(world)
    job = world.workloads()["generate/ada"]["metadata"]["name"]
    for _ in range(3):
        world.now += 3 * STALL
        how(world)
        stall(world)
        assert set(servers(world)) == set(before)
        assert "generate/ada" not in world.workloads()
        assert world.stage("generate/ada").reason == Reason.WAITING_FOR_SERVER
        world.serve("ada")
        assert world.workloads()["generate/ada"]["metadata"]["name"] == job
    assert not [e for e in world.events if e.reason == Reason.STAGE_RETRIED]
    world.complete()


def test_a_server_that_became_ready_meanwhile_is_kept():
    world = generating(backoffLimit=0)
    before = servers(world)
    job = world.workloads()["generate/ada"]["metadata"]["name"]
    world.now += 3 * STALL
    placed(world, ready=True, since=timedelta(minutes=1))
    stall(world)
    assert servers(world) == before
    assert world.workloads()["generate/ada"]["metadata"]["name"] == job


def test_a_restarted_client_uses_the_current_server():
    world = generating()
    stall(world)
    world.serve("ada")
    world.now += 3 * STALL
    gone(world)
    stall(world)
    world.serve("ada")
    server = world.workloads()["serve/ada"]["metadata"]["name"]
    assert world.workloads()["generate/ada"]["metadata"]["name"].endswith("-r1")
    assert server in servers(world)
    assert world.task("generate/ada").parameters.base_url == f"http://{server}.lab.svc:8000/v1"
