"""The objects of a finished run are deleted after their time to live."""

from datetime import datetime, timedelta

import pytest

from fusionrun.state.decide.run import decide
from fusionrun.state.observe.object_ref import ref_of
from support.runs import make_run
from support.world import World, world_after

DAY = timedelta(days=1)


def kept(world: World) -> set[tuple[str, str]]:
    return {(ref.kind, ref.name) for ref in world.objects if ref.kind != "Pod"}


MADE_FROM = {("ConfigMap", "tiny-spec"), ("ConfigMap", "tiny-resolved")}
POLICY = ("NetworkPolicy", "tiny-network")
OWN = MADE_FROM | {POLICY, ("NetworkPolicy", "tiny-sandbox")}
"""Objects that stay with the run. The NetworkPolicies isolate terminating pods of a deleted Job."""


@pytest.mark.parametrize(("ttl", "after"), [(None, DAY), (60, timedelta(seconds=60)), (0, timedelta(0))])
def test_objects_expire_and_the_records_of_the_run_stay(ttl, after):
    changes = {} if ttl is None else {"ttlSecondsAfterFinished": ttl}
    world = World(make_run(**changes))
    while not (world.run.get("status") or {}).get("completionTime"):
        world.reconcile()
        world.step()
    ended, everything = datetime.fromisoformat(world.status.completion_time), kept(world)
    if ttl != 0:
        world.now = ended + after - timedelta(seconds=1)
        decision = world.reconcile()
        assert decision.delete == ()
        assert decision.requeue_seconds == 1, "the run is reconciled when they are due"
        assert kept(world) == everything
    world.now = ended + after
    world.settle()
    assert kept(world) == OWN
    assert not [ref for ref in world.objects if ref.kind == "Pod"]
    decision = decide(world.live(), world.settings, world.now)
    assert (decision.delete, decision.status, decision.requeue_seconds) == ((), None, None)


def test_the_decision_that_finishes_a_run_requests_another_reconcile():
    world = World(make_run())
    world.run_until("compare")
    world.finish("compare")
    decision = world.reconcile()
    assert world.condition("Finished")[0] == "True"
    assert decision.requeue_seconds == 0.0


def test_the_last_job_stays_if_its_controller_has_not_counted_its_pod_when_the_run_finishes():
    world = World(make_run())
    world.run_until("compare")
    job = world.workloads()["compare"]
    world.finish("compare")
    job["status"] = {"active": 1}
    world.settle()
    assert world.condition("Finished")[0] == "True"
    assert ref_of(job) in world.objects
    name = job["metadata"]["name"]
    for pod in [
        pod for pod in world.of_kind("Pod") if pod["metadata"]["name"].startswith(name)
    ]:  # little is kept of the pods of a finished run
        del world.objects[ref_of(pod)]
    world.settle()
    assert ref_of(job) in world.objects


def test_the_objects_of_a_failed_stage_stay_seven_times_as_long():
    world = world_after("resolve")
    world.fail("prepare/prompts", {"exitCode": 2, "message": "no such column"})
    world.settle()
    assert world.condition("Failed")[0] == "True"
    failed = {(ref.kind, ref.name) for ref in world.objects if "prepare-prompts" in ref.name and ref.kind != "Pod"}
    assert {kind for kind, _ in failed} == {"Job", "ConfigMap"}
    world.pass_time(days=1)
    assert kept(world) == MADE_FROM | {POLICY} | failed
    assert world.reconcile().requeue_seconds == pytest.approx(6 * DAY.total_seconds(), abs=60)
    world.pass_time(days=6)
    assert kept(world) == MADE_FROM | {POLICY}


def test_a_changed_time_to_live_applies_at_once():
    world = world_after()
    world.complete()
    world.change_spec(ttlSecondsAfterFinished=5)
    world.pass_time(seconds=60)
    assert kept(world) == OWN


def test_objects_of_an_unfinished_run_never_expire():
    world = world_after("resolve", ttlSecondsAfterFinished=0)
    world.change_spec(suspend=True)
    everything = kept(world)
    world.pass_time(days=30)
    assert kept(world) == everything
