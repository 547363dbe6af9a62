"""A server that takes no more tokens is replaced, and its generation goes on; not for ever."""

import pytest

from fusionrun.api.result import Outcome, StageResult, encode_result
from fusionrun.api.status import Reason
from fusionrun.api.task import EXIT_SERVER_WEDGED, decode_task
from fusionrun.state.live import ObjectRef
from support.runs import make_run
from support.world import World

MESSAGE = "server wedged: no token accepted for 600 s"
WEDGED = StageResult(outcome=Outcome.FAILED, server_wedged=True, message=MESSAGE)


def generating(**changes) -> World:
    """Return a world in which generate/ada runs against its server."""
    world = World(make_run(**changes))
    world.finish_in_turn("resolve", "prepare/prompts", "prepare/benchmarks")
    world.make_ready("serve/ada")
    world.settle()
    return world


def wedge(world: World) -> None:
    world.fail("generate/ada", {"exitCode": EXIT_SERVER_WEDGED, "message": encode_result(WEDGED)})
    world.settle()


def servers(world: World) -> list[str]:
    kinds = [o for o in world.objects.values() if o["metadata"]["labels"].get("fusionrun.dev/stage") == "serve.ada"]
    return sorted(f"{o['kind']}/{o['metadata']['name']}" for o in kinds)


def test_the_server_is_replaced_and_the_generation_waits_for_the_new_one():
    world = generating()
    (deployment, service) = servers(world)
    wedge(world)
    assert servers(world) == [f"{deployment}-r1", f"{service}-r1"]
    assert world.stage("serve/ada").state == "Running"
    assert world.stage("generate/ada").reason == Reason.WAITING_FOR_SERVER
    assert "generate/ada" not in world.workloads()


def test_the_generation_goes_on_at_the_new_servers_address():
    world = generating()
    wedge(world)
    world.make_ready("serve/ada")
    world.settle()
    job = world.workloads()["generate/ada"]["metadata"]["name"]
    task = decode_task(world.objects[ObjectRef("v1", "ConfigMap", "lab", job)]["data"]["task.json"])
    server = world.workloads()["serve/ada"]["metadata"]["name"]
    assert job.endswith("-r1")
    assert task.parameters.base_url == f"http://{server}.lab.svc:8000/v1"
    retried = [e.message for e in world.events if e.reason == Reason.STAGE_RETRIED]
    assert retried == [
        "serve/ada: restarted: the one before took no more tokens",
        f"generate/ada: tried again: {MESSAGE}",
    ]
    world.run_to_end()
    assert world.condition("Complete")[0] == "True"
    assert servers(world) == []


@pytest.mark.parametrize("limit", [0, 2])
def test_a_server_is_replaced_no_more_often_than_a_stage_is_tried_again(limit):
    world = generating(backoffLimit=limit)
    for _ in range(limit):
        wedge(world)
        world.make_ready("serve/ada")
        world.settle()
    wedge(world)
    assert (world.stage("generate/ada").state, world.stage("generate/ada").reason) == ("Failed", Reason.SERVER_WEDGED)
    assert MESSAGE in world.condition("Failed")[2]
    assert servers(world) == []
    assert sum(c == "Deployment:serve.ada" for c in world.created) == limit + 1


def test_another_failure_of_a_generation_leaves_the_server_alone():
    world = generating()
    world.fail("generate/ada", {"exitCode": 130})
    world.settle()
    assert sum(c == "Deployment:serve.ada" for c in world.created) == 1
    assert world.stage("generate/ada").reason == Reason.INFRASTRUCTURE_ERROR
