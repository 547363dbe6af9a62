"""An object that the API server refuses delays only its own stage."""

from datetime import timedelta

import pytest

from fusionrun.api.status.conditions import Reason
from fusionrun.state.observe.live_objects import Refusal
from support.runs import make_run
from support.world import World, world_after

QUOTA = Refusal(403, "create Deployment x: 403 forbidden: exceeded quota: gpus")
WEBHOOK_DOWN = Refusal(500, "create Deployment x: 500 failed calling webhook: no endpoints available", transient=True)
INVALID = "create Deployment x: invalid: tolerations[0].operator"


def refused(refusal: Refusal = QUOTA) -> World:
    """Return a world in which generate/ada has finished, and the server of bob is refused."""
    world = world_after("resolve", "prepare/prompts", "serve/ada", scheduling={"maxServers": 1})
    world.refusals["Deployment:serve.bob"] = refusal
    world.finish_in_turn("generate/ada")
    return world


def test_a_stage_waits_for_quota_with_the_api_servers_message_and_others_continue():
    world = refused()
    stage = world.stage("serve/bob")
    assert (stage.state, stage.reason, stage.message) == ("Waiting", Reason.OBJECT_REFUSED, QUOTA.message)
    status, reason, message = world.condition("Ready")
    assert (status, reason) == ("False", Reason.OBJECT_REFUSED)
    assert f"serve/bob: {QUOTA.message}" in message
    assert [e.type for e in world.events if e.reason == Reason.OBJECT_REFUSED] == ["Warning"]
    assert "serve/ada" not in world.workloads()
    assert world.stage("serve/ada").state == "Succeeded"
    world.finish_in_turn("verify/ada.mathematics")
    assert world.stage("verify/ada.mathematics").state == "Succeeded"
    world.refusals.clear()
    world.complete()


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [(QUOTA, [5.0, 5.0, 10.0, 20.0, 40.0, 60.0]), (WEBHOOK_DOWN, [1.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0])],
    ids=["refused", "failed"],
)
def test_a_refused_object_is_retried_with_a_growing_delay(refusal, expected):
    world = refused(refusal)
    waits = []
    for _ in expected:
        waits.append(world.reconcile().requeue_seconds)
        world.now += timedelta(seconds=waits[-1])
    assert waits == expected
    assert (world.stage("serve/bob").state, world.stage("serve/bob").message) == ("Waiting", refusal.message)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_an_invalid_object_fails_its_stage_with_the_api_servers_message(status):
    world = refused(Refusal(status, INVALID))
    stage = world.stage("serve/bob")
    assert (stage.state, stage.reason, stage.message) == ("Failed", Reason.OBJECT_REFUSED, INVALID)
    assert world.condition("Failed")[:2] == ("True", Reason.STAGE_FAILED)
    assert INVALID in world.condition("Failed")[2]
    assert not world.of_kind("Deployment", "Service")


def test_no_stage_starts_before_the_accepted_spec_is_stored():
    world = World(make_run(), refusals={"ConfigMap:": Refusal(403, "create ConfigMap tiny-spec: 403 quota")})
    world.settle()
    assert not world.objects
    assert world.condition("Ready") == ("False", Reason.OBJECT_REFUSED, "create ConfigMap tiny-spec: 403 quota")


def test_a_refused_retry_reports_the_refusal():
    world = World(make_run())
    world.run_until("sft")
    world.refusals["PyTorchJob:sft"] = Refusal(403, "exceeded quota")
    world.fail("sft", {"exitCode": 137}, {"reason": "Evicted", "message": "low on memory"})
    world.settle()
    world.pass_time(seconds=10)
    assert (world.stage("sft").state, world.stage("sft").message) == ("Waiting", "exceeded quota")
    world.refusals.clear()
    world.complete()
