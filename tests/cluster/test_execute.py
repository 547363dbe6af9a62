import asyncio
from datetime import UTC, datetime

import pytest

from fusionrun.api.status import FusionRunStatus, Reason
from fusionrun.cluster.events import EventPoster
from fusionrun.cluster.execute import CLEAN_UP_AT_ONCE, Created, Executor
from fusionrun.errors import ClusterError
from fusionrun.state.decide.decision import Decision
from fusionrun.state.observe.object_ref import ref_of, run_ref
from fusionrun.state.report.events import Event

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TINY = run_ref("demo", "tiny")
EVENT = Event("Normal", Reason.STAGE_STARTED, "sft started")


@pytest.fixture
def run(client, store, make):
    manifest = make.run()
    client.objects[TINY] = manifest
    store.put(manifest)
    return manifest


@pytest.fixture
def existing(client, store):
    """Let an object exist in the cluster and in the store."""

    def add(manifest):
        client.objects[ref_of(manifest)] = manifest
        store.put(manifest)

    return add


@pytest.fixture
def execute(client, store, run):
    async def execute(run=run, **decision):
        events = EventPoster(client)
        executor = Executor(client, store, events)
        created = await executor.create(run, decision.get("create", ()))
        await executor.settle(run, Decision(**decision), NOW)
        await events.drain()
        return created

    return execute


async def test_objects_are_created_then_the_status_is_written_then_objects_are_deleted(client, make, existing, execute):
    old = make.child("Job", "old")
    existing(old)
    created = await execute(
        create=(make.child("Job", "new"), make.child("ConfigMap", "new")),
        status=FusionRunStatus(progress="1/9"),
        delete=(ref_of(old),),
        events=(EVENT,),
    )
    assert client.verbs()[:3] == ["create ConfigMap", "create Job", "apply FusionRun"]
    assert sorted(client.verbs()[3:]) == ["create Event", "delete Job"]
    assert [m["kind"] for m in created.made] == ["ConfigMap", "Job"]


async def test_writes_are_in_the_store_at_once(store, make, execute):
    await execute(create=(make.child("Job", "new"),), status=FusionRunStatus(progress="1/9"))
    assert store.children(TINY)[0]["metadata"]["uid"].startswith("uid-")
    assert store.get(TINY)["status"]["progress"] == "1/9"


async def test_the_status_write_is_guarded_by_the_runs_uid(client, execute, monkeypatch):
    seen = []

    async def apply_status(manifest):
        seen.append(manifest)
        return client.objects[TINY]

    monkeypatch.setattr(client, "apply_status", apply_status)
    await execute(status=FusionRunStatus())
    assert seen[0]["metadata"] == {"name": "tiny", "namespace": "demo", "uid": "run-uid"}


async def test_nothing_is_deleted_when_the_status_write_failed(client, store, make, execute):
    old = make.child("Job", "old")
    store.put(old)
    client.fail["apply", "FusionRun"] = ClusterError("apply", "FusionRun", "x", 500, "etcd is away")
    with pytest.raises(ClusterError, match="etcd is away"):
        await execute(
            create=(make.child("Job", "new"),), status=FusionRunStatus(), delete=(ref_of(old),), events=(EVENT,)
        )
    assert "delete Job" not in client.verbs()
    assert "create Event" not in client.verbs()


async def test_an_existing_object_of_the_run_is_not_new(client, store, make, execute):
    job = make.child("Job", "new")
    client.objects[ref_of(job)] = job
    assert await execute(create=(job,)) == Created([], {})
    assert store.get(ref_of(job)) == job


async def test_an_object_of_another_owner_is_never_taken_over(client, make, execute):
    job = make.child("Job", "new", owner="another-uid", owner_name="another")
    client.objects[ref_of(job)] = job
    ((ref, refusal),) = (await execute(create=(make.child("Job", "new"),))).refused.items()
    assert ref == ref_of(job)
    assert (refusal.status, refusal.is_permanent) == (409, False)  # the other object may be deleted
    assert "belongs to another owner" in refusal.message


@pytest.mark.parametrize(
    "leftover", [{"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}, {"owner": "an-older-run-of-this-name"}]
)
async def test_an_object_of_the_same_name_that_is_being_deleted_is_waited_for(client, make, execute, leftover):
    job = make.child("Job", "new", **leftover)
    client.objects[ref_of(job)] = job
    (refusal,) = (await execute(create=(make.child("Job", "new"),))).refused.values()
    assert (refusal.transient, refusal.is_permanent) == (True, False)


async def test_an_object_that_is_already_gone_needs_another_decision(client, store, run, make):
    """The watch has missed the deletion."""
    gone, forgotten = make.child("Job", "gone"), make.child("Job", "forgotten")
    store.put(gone)
    executor = Executor(client, store, EventPoster(client))
    decision = Decision(delete=(ref_of(gone), ref_of(forgotten)))
    assert await executor.settle(run, decision, NOW) is True
    assert [c for c in client.calls if c[0] == "delete"] == [("delete", "Job", "gone")]
    assert store.children(TINY) == []
    assert await executor.settle(run, decision, NOW) is False


async def test_events_are_posted_when_a_delete_fails(client, store, run, make):
    old = make.child("Job", "old")
    store.put(old)
    client.fail["delete", "Job"] = ClusterError("delete", "Job", "old", 503, "away")

    events = EventPoster(client)
    with pytest.raises(ClusterError, match="away"):
        decision = Decision(status=FusionRunStatus(), delete=(ref_of(old),), events=(EVENT,))
        await Executor(client, store, events).settle(run, decision, NOW)
    await events.drain()
    assert "create Event" in client.verbs()


async def test_a_repeated_event_increases_the_count(client, execute):
    await execute(events=(EVENT,))
    await execute(events=(EVENT,))
    events = [o for r, o in client.objects.items() if r.kind == "Event"]
    assert [e["count"] for e in events] == [2]
    assert events[0]["involvedObject"]["uid"] == "run-uid"
    assert events[0]["lastTimestamp"] == "2026-01-02T03:04:05Z"


async def test_an_event_that_cannot_be_posted_is_no_error(client, execute):
    client.fail["create", "Event"] = ClusterError("create", "Event", "x", 403, "no")
    assert await execute(events=(EVENT,)) == Created([], {})


@pytest.mark.parametrize(
    ("status", "permanent", "transient"),
    [
        (400, True, False),
        (403, False, False),
        (404, False, False),
        (413, True, False),
        (422, True, False),
        (0, False, True),
        (429, False, True),
        (500, False, True),
        (503, False, True),
    ],
)
async def test_an_object_that_cannot_be_created_does_not_delay_the_rest(
    client, make, existing, execute, status, permanent, transient
):
    client.fail["create", "Deployment"] = ClusterError("create", "Deployment", "d", status, "exceeded quota")
    old = make.child("Job", "old")
    existing(old)
    created = await execute(
        create=(make.child("Deployment", "d"), make.child("Job", "j")),
        status=FusionRunStatus(progress="1/9"),
        delete=(ref_of(old),),
    )
    assert [m["kind"] for m in created.made] == ["Job"]
    ((ref, refusal),) = created.refused.items()
    assert (ref.kind, refusal.status) == ("Deployment", status)
    assert (refusal.is_permanent, refusal.transient) == (permanent, transient)
    assert "exceeded quota" in refusal.message
    assert {"apply FusionRun", "delete Job"} <= set(client.verbs())


async def test_no_workload_is_created_after_a_refused_config_map(client, make, execute):
    client.fail["create", "ConfigMap"] = ClusterError("create", "ConfigMap", "c", 403, "exceeded quota")
    created = await execute(create=(make.child("ConfigMap", "c"), make.child("Job", "c")))
    assert created.made == []
    assert "create Job" not in client.verbs()


async def test_a_lost_pod_is_marked_as_failed_and_then_force_deleted(client, make, existing, execute):
    """Its Job would otherwise keep its finalizer on the pod and wait."""
    pod = make.child("Pod", "lost")
    existing(pod)
    await execute(delete=(ref_of(pod),))
    assert client.verbs() == ["fail Pod", "delete Pod"]
    assert client.failed == [("lost", "lost-uid", "DisruptionTarget")]
    assert client.graces == {"lost": 0}


async def test_a_slow_watch_does_not_cause_a_second_delete(client, store, make, execute):
    server, pod = make.child("Deployment", "server"), make.child("Pod", "lost", status={"phase": "Running"})
    for manifest in (server, pod):
        client.objects[ref_of(manifest)] = manifest
        store.put(manifest)
    await execute(delete=(ref_of(server), ref_of(pod)))
    known = {child["kind"]: child for child in store.children(TINY)}
    assert known["Deployment"]["metadata"]["deletionTimestamp"] == "2026-01-02T03:04:05Z"
    assert known["Pod"]["status"]["phase"] == "Failed", "a failed pod is not lost"


async def test_the_objects_of_a_finished_run_are_deleted_a_few_at_a_time(
    client, store, run, make, execute, monkeypatch
):
    deleting = most = 0

    async def delete(ref, uid=None, grace_seconds=None):
        nonlocal deleting, most
        deleting += 1
        most = max(most, deleting)
        await asyncio.sleep(0)
        deleting -= 1

    monkeypatch.setattr(client, "delete", delete)
    jobs = [make.child("Job", f"j{number}") for number in range(30)]
    refs = tuple(ref_of(job) for job in jobs)
    for job in jobs:
        store.put(job)
    await execute(delete=refs)
    assert most == 30, "the GPUs of an unfinished run are freed at once"
    most = 0
    ended = {**run, "status": {"conditions": [{"type": "Finished", "status": "True"}]}}
    await execute(ended, delete=refs)
    assert most == CLEAN_UP_AT_ONCE


async def test_only_pods_are_force_deleted(client, make, existing, execute):
    old = make.child("Job", "old")
    existing(old)
    await execute(delete=(ref_of(old),))
    assert client.graces == {"old": None}


async def test_an_object_in_the_store_is_not_created_again(client, store, make, execute):
    store.put(make.child("Job", "new"))
    assert await execute(create=(make.child("Job", "new"),)) == Created([], {})
    assert client.calls == []


async def test_only_a_decision_that_just_updates_the_status_may_wait(client, store, run, make):
    executor = Executor(client, store, EventPoster(client))
    fresh = Decision(status=FusionRunStatus(progress="1/9"))
    assert executor.seconds_to_wait(run, fresh) == 0.0
    await executor.settle(run, fresh, NOW)
    assert 0.5 < executor.seconds_to_wait(run, fresh) <= 1.0
    assert executor.seconds_to_wait(run, Decision()) == 0.0
    for more in (
        {"create": (make.child("Job", "a"),)},
        {"delete": (ref_of(make.child("Job", "a")),)},
        {"events": (EVENT,)},
    ):
        assert executor.seconds_to_wait(run, Decision(status=fresh.status, **more)) == 0.0
    executor.forget(TINY)
    assert executor.seconds_to_wait(run, fresh) == 0.0
