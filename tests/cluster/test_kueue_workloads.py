"""Kueue's Workloads are read together, seldom, and only for explanations."""

from types import SimpleNamespace

import pytest

from fusionrun.cluster import gather as gather_module
from fusionrun.cluster import kueue_workloads
from fusionrun.cluster.gather import Gatherer
from fusionrun.cluster.kueue_workloads import CACHE_SECONDS, FORGET_SECONDS, OBJECTS_MAX, KueueWorkloadReader
from fusionrun.names import LABEL_QUEUE, LABEL_QUEUE_OWNER, LABEL_RUN
from fusionrun.state.observe.object_ref import run_ref

CONDITION = {"type": "QuotaReserved", "status": "False", "reason": "Pending", "message": "8 more needed"}


def workload(owner, name="w", created="2026-01-01T00:00:00Z", **spec):
    metadata = {"name": name, "labels": {LABEL_QUEUE_OWNER: owner}, "creationTimestamp": created, "managedFields": [1]}
    status = {"conditions": [CONDITION | {"lastTransitionTime": created}]}
    return {
        "apiVersion": "kueue.x-k8s.io/v1beta2",
        "kind": "Workload",
        "metadata": metadata,
        "spec": spec,
        "status": status,
    }


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(kueue_workloads, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


@pytest.fixture
def reader(client, clock):
    client.kueue = []
    return KueueWorkloadReader(client)


async def test_the_workloads_of_all_objects_are_read_in_one_request(reader, client, make, clock):
    client.kueue = [
        workload("a-uid", "new", "2026-01-02T00:00:00Z", active=False, podSets=[1]),
        workload("a-uid", "old"),
    ]
    objects = [make.child("Job", name) for name in "ab"]
    for _ in range(2):
        found = await reader.of(objects)
        assert found["a-uid"]["metadata"] == {"name": "new", "labels": {LABEL_QUEUE_OWNER: "a-uid"}}
        assert found["a-uid"]["spec"] == {"active": False}
        assert found["a-uid"]["status"]["conditions"][0]["message"] == "8 more needed"
        assert found["b-uid"] is None
    assert client.calls == [("list", "Workload", f"{LABEL_QUEUE_OWNER} in (a-uid,b-uid)")]
    clock.seconds += CACHE_SECONDS
    await reader.of(objects[:1])
    assert client.calls[1:] == [("list", "Workload", f"{LABEL_QUEUE_OWNER} in (a-uid)")]


async def test_no_request_is_made_for_no_object_and_many_objects_are_limited(reader, client, make):
    assert await reader.of([]) == {}
    assert client.calls == []
    assert len(await reader.of([make.child("Job", f"job{number}") for number in range(OBJECTS_MAX + 1)])) == OBJECTS_MAX


async def test_nothing_is_known_without_kueue_until_it_is_installed(reader, client, make):
    client.kueue = None
    assert await reader.of([make.child("Job", "a")]) == {}
    client.kueue = [workload("a-uid")]
    assert (await reader.of([make.child("Job", "a")]))["a-uid"]["metadata"]["name"] == "w"


async def test_a_failed_request_keeps_what_was_known_for_a_time(reader, client, make, clock):
    job = make.child("Job", "a")
    client.fail_on("list", "Workload", 403, "forbidden")
    assert await reader.of([job]) == {}
    client.fail.clear()
    assert await reader.of([job]) == {"a-uid": None}
    client.fail_on("list", "Workload", 500, "etcd is away")
    clock.seconds += CACHE_SECONDS
    assert await reader.of([job]) == {"a-uid": None}
    clock.seconds += FORGET_SECONDS
    assert await reader.of([job]) == {}


async def test_workloads_are_gathered_for_queued_objects(client, store, make, monkeypatch):
    monkeypatch.setattr(gather_module, "prerequisites", lambda _: ())
    client.kueue = [workload("queued-uid")]
    labels = {"labels": {LABEL_RUN: "tiny", LABEL_QUEUE: "research"}}
    suspended = {"spec": {"suspend": True}}
    store.put(make.run())
    store.put(make.child("Job", "queued", metadata=labels, **suspended))
    store.put(make.child("Job", "not-queued", **suspended))
    live = await Gatherer(client, store).gather(run_ref("demo", "tiny"), {})
    assert list(live.kueue) == ["queued-uid"]
