"""An object that the API server refuses delays only its own stage."""

from datetime import timedelta

import pytest

from fusionrun.api.status import Reason
from fusionrun.state.observe.live_objects import Refusal
from support.runs import make_run
from support.world import World

QUOTA = Refusal(403, "create Deployment x: 403 forbidden: exceeded quota: gpus")
WEBHOOK_DOWN = Refusal(500, "create Deployment x: 500 failed calling webhook: no endpoints available", transient=True)
INVALID = Refusal(422, "create Deployment x: 422 invalid: tolerations[0].operator")


def world_at(*finished: str, run=None) -> World:
    world = World(run or make_run())
    world.finish_in_turn(*finished)
    return world


def answered() -> World:
    """Return a world in which generate/ada has finished, and a quota refuses the server of bob."""
    world = world_at("resolve", "prepare/prompts", run=make_run(scheduling={"maxServers": 1}))
    world.serve("ada")
    world.refusals["Deployment:serve.bob"] = QUOTA
    world.finish("generate/ada")
    return world


def test_a_server_is_deleted_when_another_object_is_refused():
    world = answered()
    world.settle()
    assert "serve/ada" not in world.workloads()
    assert world.stage("serve/ada").state == "Succeeded"


def test_a_stage_waits_for_quota_with_the_api_servers_message():
    world = answered()
    world.settle()
    stage = world.stage("serve/bob")
    assert (stage.state, stage.reason, stage.message) == ("Waiting", Reason.OBJECT_REFUSED, QUOTA.message)
    status, reason, message = world.condition("Ready")
    assert (status, reason) == ("False", Reason.OBJECT_REFUSED)
    assert f"serve/bob: {QUOTA.message}" in message
    assert [e.type for e in world.events if e.reason == Reason.OBJECT_REFUSED] == ["Warning"]
    world.refusals.clear()
    world.run_to_end()
    assert world.condition("Complete")[0] == "True"


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [(QUOTA, [5.0, 5.0, 10.0, 20.0, 40.0, 60.0]), (WEBHOOK_DOWN, [1.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0])],
    ids=["refused", "failed"],
)
def test_a_refused_object_is_retried_with_a_growing_delay(refusal, expected):
    world = answered()
    world.refusals["Deployment:serve.bob"] = refusal
    world.settle()
    waits = []
    for _ in expected:
        waits.append(world.reconcile().requeue_seconds)
        world.now += timedelta(seconds=waits[-1])
    assert waits == expected
    assert (world.stage("serve/bob").state, world.stage("serve/bob").message) == ("Waiting", refusal.message)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_an_invalid_object_fails_its_stage_with_the_api_servers_message(status):
    world = answered()
    world.refusals["Deployment:serve.bob"] = Refusal(status, INVALID.message)
    world.settle()
    stage = world.stage("serve/bob")
    assert (stage.state, stage.reason, stage.message) == ("Failed", Reason.OBJECT_REFUSED, INVALID.message)
    assert world.condition("Failed")[:2] == ("True", Reason.STAGE_FAILED)
    assert INVALID.message in world.condition("Failed")[2]
    assert not [o for o in world.objects.values() if o["kind"] in ("Deployment", "Service")]


def test_other_stages_continue():
    world = World(make_run(), refusals={"Deployment:serve.bob": QUOTA})
    world.run_to_end()
    assert world.stage("serve/bob").reason == Reason.OBJECT_REFUSED
    assert world.stage("verify/ada.mathematics").state == "Succeeded"


def test_no_stage_starts_before_the_accepted_spec_is_stored():
    world = World(make_run(), refusals={"ConfigMap:": Refusal(403, "create ConfigMap tiny-spec: 403 quota")})
    world.settle()
    assert not world.objects
    assert world.condition("Ready") == ("False", Reason.OBJECT_REFUSED, "create ConfigMap tiny-spec: 403 quota")


def test_a_refused_retry_reports_the_refusal():
    world = world_at()
    world.run_until("sft")
    world.refusals["PyTorchJob:sft"] = Refusal(403, "exceeded quota")
    world.fail("sft", {"exitCode": 137}, {"reason": "Evicted", "message": "low on memory"})
    world.settle()
    assert (world.stage("sft").state, world.stage("sft").message) == ("Waiting", "exceeded quota")
    world.refusals.clear()
    world.run_to_end()
    assert world.condition("Complete")[0] == "True"
