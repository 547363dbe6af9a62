import asyncio
from datetime import UTC, datetime

import pytest

from fusionrun.api.status.conditions import Reason
from fusionrun.api.status.run import FusionRunStatus, read_status
from fusionrun.api.status.stages import StageStatus
from fusionrun.cluster import execute as execute_module
from fusionrun.cluster.events import EventPoster
from fusionrun.cluster.execute import CLEAN_UP_AT_ONCE, Created, Executor
from fusionrun.errors import ClusterError
from fusionrun.names import LABEL_RUN, LABEL_STAGE
from fusionrun.state.decide.decision import Decision
from fusionrun.state.observe.object_ref import ref_of, run_ref
from fusionrun.state.report.events import Event

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TINY = run_ref("demo", "tiny")
EVENT = Event("Normal", Reason.STAGE_STARTED, "sft started")


@pytest.fixture
def run(existing, make):
    manifest = make.run()
    existing(manifest)
    return manifest


@pytest.fixture
def existing(client, store):
    """Let objects exist in the cluster and in the store."""

    def add(*manifests):
        client.add(*manifests)
        for manifest in manifests:
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


async def test_the_status_is_written_only_to_the_run_as_it_was_at_the_decision(client, execute, monkeypatch):
    applied = []

    async def apply_status(manifest):
        applied.append(manifest)
        return client.objects[TINY]

    monkeypatch.setattr(client, "apply_status", apply_status)
    await execute(status=FusionRunStatus())
    assert applied[0]["metadata"] == {"name": "tiny", "namespace": "demo", "uid": "run-uid", "resourceVersion": "1"}


async def test_a_run_that_has_changed_since_the_decision_needs_another_one(client, store, make, run):
    """Somebody changed its spec, or this operator was paused and another one has acted since."""
    old = make.child("Job", "old")
    store.put(old)
    client.add(make.run(version=9))
    client.fail_on("apply", "FusionRun", 409, "the object has been modified")
    executor = Executor(client, store, EventPoster(client))
    decision = Decision(status=FusionRunStatus(), delete=(ref_of(old),), events=(EVENT,))
    assert await executor.settle(run, decision, NOW)
    assert store.get(TINY)["metadata"]["resourceVersion"] == "9"
    assert not {"delete Job", "create Event"} & set(client.verbs())


async def test_nothing_is_deleted_when_the_status_write_failed(client, store, make, execute):
    old = make.child("Job", "old")
    store.put(old)
    client.fail_on("apply", "FusionRun", 500, "etcd is away")
    with pytest.raises(ClusterError, match="etcd is away"):
        await execute(status=FusionRunStatus(), delete=(ref_of(old),), events=(EVENT,))
    assert "delete Job" not in client.verbs()
    assert "create Event" not in client.verbs()


async def test_a_train_job_waits_until_the_webhook_knows_its_runtime(client, store, make, run, monkeypatch):
    monkeypatch.setattr(execute_module, "WEBHOOK_DELAYS", (0, 0, 0))
    denied = "admission webhook denied the request: spec.runtimeRef: TrainingRuntime new not found"
    create, refusals = client.create, [denied, denied, "the namespace's quota is exhausted"]

    async def refuse(manifest):
        if manifest["kind"] == "TrainJob" and refusals:
            raise ClusterError("create", "TrainJob", "new", 403, refusals.pop(0))
        return await create(manifest)

    monkeypatch.setattr(client, "create", refuse)
    executor, job = Executor(client, store, EventPoster(client)), make.child("TrainJob", "new")
    created = await executor.create(run, (make.child("TrainingRuntime", "new"), job))
    assert "quota is exhausted" in created.refused[ref_of(job)].message
    refusals.extend([denied, denied])
    assert [m["kind"] for m in (await executor.create(run, (job,))).made] == ["TrainJob"]


async def test_an_existing_object_of_the_run_is_not_new(client, store, make, execute):
    job = make.child("Job", "new")
    client.add(job)
    assert await execute(create=(job,)) == Created([], {})
    assert store.get(ref_of(job)) == job


@pytest.mark.parametrize("stored", [False, True], ids=["unknown", "stored"])
async def test_a_config_map_of_the_run_with_other_data_is_replaced(client, store, make, execute, stored):
    """Somebody who may create ConfigMaps made it before the operator did."""
    forged = make.child("ConfigMap", "tiny-spec", data={"images.json": "forged"})
    client.add(forged)
    if stored:
        store.put(forged)
    wanted = make.child("ConfigMap", "tiny-spec", data={"images.json": "genuine"})
    created = await execute(create=(wanted, make.child("Job", "new")))
    assert [m["kind"] for m in created.made] == ["ConfigMap", "Job"]
    assert client.objects[ref_of(wanted)]["data"] == {"images.json": "genuine"}
    assert store.get(ref_of(wanted))["data"] == {"images.json": "genuine"}
    assert client.verbs().index("create Job") > client.verbs().index("delete ConfigMap")


async def test_a_config_map_with_the_same_data_is_kept(client, make, execute):
    wanted = make.child("ConfigMap", "tiny-spec", data={"images.json": "genuine"})
    client.add(wanted)
    assert await execute(create=(wanted,)) == Created([], {})
    assert "delete ConfigMap" not in client.verbs()


async def test_a_status_that_objects_wait_for_is_written_at_once(client, store, make, run):
    executor = Executor(client, store, EventPoster(client))
    status = FusionRunStatus(progress="1/9")
    await executor.settle(run, Decision(status=status), NOW)
    assert executor.seconds_to_wait(run, _status(run), Decision(status=status)) > 0
    assert executor.seconds_to_wait(run, _status(run), Decision(status=status, requeue_seconds=0.0)) == 0


@pytest.mark.parametrize(
    ("known", "status", "message"),
    [
        ({"owner": "another-uid", "owner_name": "another"}, 409, "belongs to another owner"),
        ({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}, 0, "still being deleted"),
        ({"owner": "an-older-run-of-this-name"}, 0, "still being deleted"),
    ],
    ids=["another owner", "being deleted", "a deleted run of the same name"],
)
async def test_an_object_of_the_same_name_is_never_taken_over(client, make, execute, known, status, message):
    client.add(make.child("Job", "new", **known))
    ((ref, refusal),) = (await execute(create=(make.child("Job", "new"),))).refused.items()
    assert ref == ref_of(make.child("Job", "new"))
    assert (refusal.status, refusal.transient, refusal.is_permanent) == (status, not status, False)
    assert message in refusal.message


@pytest.mark.parametrize("labels", [{}, {LABEL_RUN: "other"}, {LABEL_RUN: "tiny", LABEL_STAGE: "dpo"}])
@pytest.mark.parametrize("watched", [True, False])
async def test_a_workload_whose_label_was_changed_is_reported_and_kept(client, store, make, execute, labels, watched):
    """It holds GPUs and may have worked for days."""
    wanted = make.child("Job", "sft", metadata={"labels": {LABEL_RUN: "tiny", LABEL_STAGE: "sft"}})
    known = make.child("Job", "sft", metadata={"labels": labels})
    client.add(known)
    if watched:
        store.put(known)
    ((_, refusal),) = (await execute(create=(wanted,))).refused.items()
    assert (refusal.status, refusal.is_permanent) == (409, False)
    assert "kubectl label --overwrite Job sft fusionrun.dev/" in refusal.message
    assert "delete Job" not in client.verbs()


async def test_a_secret_is_created_without_being_read_or_kept(client, store, make, execute):
    secret = make.child("Secret", "key") | {"data": {"key": "c2VjcmV0"}}
    for made in (1, 0):
        created = await execute(create=(secret,))
        assert (len(created.made), created.refused) == (made, {})
        assert "c2VjcmV0" not in str(created.made)
    assert client.verbs() == ["create Secret"] * 2
    assert store.get(ref_of(secret)) is None


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
    client.fail_on("delete", "Job", 503, "away")
    events = EventPoster(client)
    decision = Decision(status=FusionRunStatus(), delete=(ref_of(old),), events=(EVENT,))
    with pytest.raises(ClusterError, match="away"):
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


async def test_an_event_that_cannot_be_posted_is_not_an_error(client, execute):
    client.fail_on("create", "Event", 403, "no")
    assert await execute(events=(EVENT,)) == Created([], {})


@pytest.mark.parametrize(
    ("statuses", "permanent", "transient"),
    [((400, 413, 422), True, False), ((403, 404), False, False), ((0, 429, 500, 503), False, True)],
    ids=["permanent", "refused", "transient"],
)
async def test_an_object_that_cannot_be_created_does_not_delay_the_rest(
    client, make, existing, execute, statuses, permanent, transient
):
    for status in statuses:
        client.fail_on("create", "Deployment", status, "exceeded quota")
        old, new = make.child("Job", f"old-{status}"), make.child("Job", f"new-{status}")
        existing(old)
        create = (make.child("Deployment", "d"), new)
        created = await execute(create=create, status=FusionRunStatus(progress="1/9"), delete=(ref_of(old),))
        assert [m["kind"] for m in created.made] == ["Job"]
        ((ref, refusal),) = created.refused.items()
        assert (ref.kind, refusal.status) == ("Deployment", status)
        assert (refusal.is_permanent, refusal.transient) == (permanent, transient)
        assert "exceeded quota" in refusal.message
        assert {("apply", "FusionRun", "tiny"), ("delete", "Job", f"old-{status}")} <= set(client.calls)


async def test_no_workload_is_created_after_a_refused_config_map(client, make, execute):
    client.fail_on("create", "ConfigMap", 403, "exceeded quota")
    created = await execute(create=(make.child("ConfigMap", "c"), make.child("Job", "c")))
    assert created.made == []
    assert "create Job" not in client.verbs()


async def test_a_lost_pod_is_marked_as_failed_and_then_force_deleted(client, make, existing, execute):
    """Its Job would otherwise keep its finalizer on the pod and wait."""
    pod, job = make.child("Pod", "lost"), make.child("Job", "old")
    existing(pod, job)
    await execute(delete=(ref_of(pod),))
    assert client.verbs() == ["fail Pod", "delete Pod"]
    assert client.failed == [("lost", "lost-uid", "DisruptionTarget")]
    await execute(delete=(ref_of(job),))
    assert client.graces == {"lost": 0, "old": None}


async def test_a_slow_watch_does_not_cause_a_second_delete(existing, store, make, execute):
    server, pod = make.child("Deployment", "server"), make.child("Pod", "lost", status={"phase": "Running"})
    existing(server, pod)
    await execute(delete=(ref_of(server), ref_of(pod)))
    known = {child["kind"]: child for child in store.children(TINY)}
    assert known["Deployment"]["metadata"]["deletionTimestamp"] == "2026-01-02T03:04:05Z"
    assert known["Pod"]["status"]["phase"] == "Failed", "a failed pod is not lost"


async def test_objects_of_a_finished_run_are_deleted_a_few_at_a_time(client, store, make, execute, monkeypatch):
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
    await execute(make.finished_run(), delete=refs)
    assert most == CLEAN_UP_AT_ONCE


async def test_an_object_in_the_store_is_not_created_again(client, store, make, execute):
    store.put(make.child("Job", "new"))
    assert await execute(create=(make.child("Job", "new"),)) == Created([], {})
    assert client.calls == []


async def test_only_a_decision_that_just_updates_the_status_may_wait(client, store, run, make):
    executor = Executor(client, store, EventPoster(client))
    fresh = Decision(status=FusionRunStatus(progress="1/9"))
    assert executor.seconds_to_wait(run, _status(run), fresh) == 0.0
    await executor.settle(run, fresh, NOW)
    assert 0.5 < executor.seconds_to_wait(run, _status(run), fresh) <= 1.0
    assert executor.seconds_to_wait(run, _status(run), Decision()) == 0.0
    job = make.child("Job", "a")
    for more in ({"create": (job,)}, {"delete": (ref_of(job),)}, {"events": (EVENT,)}):
        assert executor.seconds_to_wait(run, _status(run), Decision(status=fresh.status, **more)) == 0.0
    executor.forget(TINY)
    assert executor.seconds_to_wait(run, _status(run), fresh) == 0.0


USAGE = {"pods": [{"uid": "p", "startTime": "2026-01-02T03:04:05Z", "gpus": 1.0}]}


@pytest.mark.parametrize(
    ("before", "after", "most"),
    [
        ({"loss": 2.0}, {"loss": 1.5}, 30.0),
        ({"cost_micro": 5}, {"cost_micro": 6}, 30.0),
        ({"gpu_seconds": 60}, {"gpu_seconds": 120}, 30.0),
        ({}, {"loss": 1.5}, 1.0),
        ({"gpu_seconds": 60}, {"gpu_seconds": 60, "gpu_usage": USAGE}, 1.0),
        ({"loss": 2.0}, {"loss": 2.0, "reason": "PodsRunning"}, 5.0),
        ({}, {"message": "pod sft-0: Unschedulable"}, 5.0),
        ({}, {"state": "Waiting"}, 1.0),
    ],
    ids=["loss", "cost", "GPU time", "first progress", "another pod with GPUs", "reason", "message", "state"],
)
async def test_numbers_and_details_alone_are_written_less_often(client, store, run, before, after, most):
    executor = Executor(client, store, EventPoster(client))
    old, new = (
        FusionRunStatus(
            stages=[StageStatus(**{"name": "sft", "state": "Running"} | fields)],
            cost_micro=fields.get("cost_micro"),
            gpu_seconds=fields.get("gpu_seconds"),
        )
        for fields in (before, after)
    )
    await executor.settle(run, Decision(status=old), NOW)
    written = run | {"status": old.model_dump(mode="json", exclude_none=True)}
    assert most - 0.5 < executor.seconds_to_wait(written, _status(written), Decision(status=new)) <= most
    assert executor.seconds_to_wait(written, _status(written), Decision(status=new, requeue_seconds=0.1)) == 0.1


def _status(run):
    return read_status(run.get("status"))
