import itertools
import time
from datetime import UTC, datetime

import kopf
import pytest

from fusionrun.cluster.gather import FROM_CRDS
from fusionrun.cluster.resources import RESOURCES
from fusionrun.cluster.store import Store
from fusionrun.handlers.kopf_settings import configure_kopf
from fusionrun.handlers.watches import Watches, seconds_late
from fusionrun.metrics import Metrics
from fusionrun.names import API_VERSION, KIND, LABEL_COMPONENT, LABEL_RUN


class Recorder:
    """Watches, with a gatherer, queue and resync that record calls."""

    def __init__(self):
        self.store, self.added, self.forgotten, self.deleted, self.ready = Store(), [], [], [], True
        self.waiting, self.later = set(), []
        self.resyncs = 0
        self.watches = Watches(self.store, self, self, Metrics(self.store.runs), self, self.deleted.append)

    def is_ready(self, namespace):
        assert namespace == "demo"
        return self.ready

    def soon(self):
        self.resyncs += 1

    def add(self, run, *, watched_at):
        assert watched_at <= time.monotonic()
        self.added.append(run.name)

    def add_after(self, run, seconds):
        self.later.append(run.name)

    def forget(self, run):
        self.forgotten.append(run)

    def claim_changed(self, claim, *, exists):
        return self.waiting if exists else set()

    async def event(self, kind, manifest):
        await self.watches.on_event(event={"type": kind, "object": manifest})


@pytest.fixture
def recorder():
    return Recorder()


def run(version=1, uid="u"):
    metadata = {"name": "tiny", "namespace": "demo", "uid": uid, "resourceVersion": str(version)}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata}


COMPLETE = {"conditions": [{"type": "Complete", "status": "True"}]}
SUCCEEDED = COMPLETE | {"completionTime": "2026-01-02T03:04:05Z"}


def job(version=1, status=COMPLETE, **spec):
    metadata = {"name": "j", "namespace": "demo", "uid": "j", "labels": {LABEL_RUN: "tiny"}}
    changed = {"resourceVersion": str(version), "generation": version}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata | changed, "spec": spec, "status": status}


async def test_a_changed_object_adds_its_run(recorder):
    await recorder.event("ADDED", job(1))
    await recorder.event("MODIFIED", job(2))
    await recorder.event("DELETED", job(3))
    assert recorder.added == ["tiny"] * 3


JOB_OWNER = {"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "j"}
REPLICA_SET = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "s-1", "uid": "r"}
DELETING = {"deletionTimestamp": "2026-01-02T03:04:05Z"}
OF_CLIENT = {LABEL_RUN: "tiny", LABEL_COMPONENT: "generate"}
GPU = {"containers": [{"resources": {"limits": {"nvidia.com/gpu": "1"}}}]}


def pod(phase, owner=JOB_OWNER, spec=None, **metadata):
    found = {"name": "p", "namespace": "demo", "uid": "p", "labels": {LABEL_RUN: "tiny"}, "resourceVersion": "1"}
    found |= {"ownerReferences": [owner]} | metadata
    return {"apiVersion": "v1", "kind": "Pod", "metadata": found, "spec": spec or {}, "status": {"phase": phase}}


def deployment(**status):
    return job(status=status) | {"apiVersion": "apps/v1", "kind": "Deployment"}


@pytest.mark.parametrize(
    ("known", "change", "manifest", "now"),
    [
        (None, "ADDED", job(), True),
        (None, "ADDED", job(status=SUCCEEDED, completions=2), True),
        (None, "ADDED", job(status=SUCCEEDED), False),
        (None, "ADDED", job(status={"startTime": "2026-01-02T03:04:05Z"}), False),
        (job(), "MODIFIED", pod("Succeeded"), True),
        (job(status={}), "MODIFIED", pod("Succeeded"), True),
        (job(status={}, completions=2), "MODIFIED", pod("Succeeded"), False),
        (job(status={}, completions=2), "MODIFIED", pod("Succeeded", spec=GPU), True),
        (job(status={}, completions=2), "MODIFIED", pod("Succeeded", labels=OF_CLIENT), True),
        (None, "MODIFIED", pod("Succeeded"), True),
        (job(status={}), "MODIFIED", pod("Failed"), True),
        (None, "ADDED", pod("Pending"), False),
        (None, "ADDED", pod("Running"), False),
        (None, "ADDED", pod("Running", **DELETING), True),
        (job(status={}), "DELETED", pod("Running", **DELETING), True),
        (None, "DELETED", pod("Running", REPLICA_SET, **DELETING), False),
        (None, "DELETED", pod("Running", REPLICA_SET, GPU, **DELETING), True),
        (None, "ADDED", deployment(unavailableReplicas=1), False),
        (None, "ADDED", deployment(readyReplicas=1), True),
        (None, "DELETED", deployment(), True),
        (None, "ADDED", run(), True),
    ],
)
async def test_a_change_that_no_stage_waits_for_adds_its_run_later(recorder, known, change, manifest, now):
    """A pod has several such changes within a second."""
    for earlier in [known] if known else []:
        recorder.store.put(earlier)
    if change == "DELETED":
        recorder.store.put(manifest)
    await recorder.event(change, manifest)
    assert (recorder.added, recorder.later) == ((["tiny"], []) if now else ([], ["tiny"]))


async def test_the_event_of_a_write_is_not_a_change(recorder):
    recorder.store.put(run(7))
    await recorder.event("MODIFIED", run(7))
    recorder.store.put(job(8))
    await recorder.event("ADDED", job(8))
    assert recorder.added == []


async def test_the_list_of_a_restarted_watch_adds_only_changed_runs_and_requests_a_resync(recorder):
    """Its list does not show objects that were deleted in between."""
    await recorder.event("ADDED", job(1))
    assert recorder.resyncs == 0
    await recorder.event(None, job(1))
    await recorder.event(None, job(2))
    assert len(recorder.added) == 2
    assert recorder.resyncs == 2


async def test_no_run_is_added_before_the_store_is_complete(recorder):
    recorder.ready = False
    await recorder.event(None, run())
    assert recorder.added == []
    assert recorder.store.runs()


async def test_a_deleted_run_is_forgotten_and_not_reconciled(recorder):
    await recorder.event("ADDED", run(1))
    recorder.added.clear()
    await recorder.event("DELETED", run(2))
    assert recorder.added == []
    assert [r.name for r in recorder.deleted] == ["tiny"]
    assert recorder.forgotten == recorder.deleted


async def test_a_late_event_of_a_deleted_run_leaves_a_new_run_of_the_same_name(recorder):
    successor = run(9, "v")
    await recorder.event("ADDED", run(1))
    await recorder.event("ADDED", successor)
    await recorder.event("DELETED", run(2))
    assert recorder.deleted == []
    assert recorder.store.runs() == [successor]
    await recorder.event("DELETED", run(10, "v"))
    assert [r.name for r in recorder.deleted] == ["tiny"]


async def test_a_claim_adds_the_runs_that_wait_for_it(recorder, tiny):
    metadata = {"name": "c", "namespace": "demo", "resourceVersion": "1"}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata}
    recorder.waiting = {tiny}
    recorder.watches.claim_changed("DELETED", claim)
    assert recorder.added == []
    recorder.watches.claim_changed("ADDED", claim)
    assert recorder.added == ["tiny"]


def changed_at(*times):
    return {"metadata": {"managedFields": [{"time": time} for time in times]}}


@pytest.mark.parametrize(
    ("manifest", "late"),
    [
        (changed_at("2026-01-02T03:04:05Z", "2026-01-02T03:04:01Z"), 2.5),
        (changed_at("2026-01-02T03:04:08Z"), 0.0),  # less than a second, or a clock that is slow
        (changed_at("2026-01-02T03:05:00Z"), 0.0),
        (changed_at(None), 0.0),
        ({"metadata": {}}, 0.0),
    ],
)
def test_a_transition_starts_when_the_api_server_made_the_change(manifest, late):
    now = datetime(2026, 1, 2, 3, 4, 8, 500000, tzinfo=UTC).timestamp()
    assert seconds_late(manifest, now) == late


def test_kopf_only_watches(recorder):
    """Handlers other than on.event add a finalizer or an annotation, so none may be registered."""
    registry, settings = kopf.OperatorRegistry(), kopf.OperatorSettings()
    recorder.watches.register(registry, settings)
    assert len(registry._watching.get_all_handlers()) == len(FROM_CRDS)
    for unused in (registry._changing, registry._spawning, registry._indexing, registry._webhooks):
        assert not list(unused.get_all_handlers())
    selected = {(s.group, s.version, s.any_name): v for s, v in settings.watching.label_selectors.items()}
    for api_version, kind in FROM_CRDS:
        group, _, version = api_version.rpartition("/")
        assert selected[group, version, RESOURCES[api_version, kind][0]] == LABEL_RUN


def test_kopf_never_ends_the_process_because_of_requests_that_fail():
    backoffs = configure_kopf().networking.error_backoffs
    for _ in range(2):  # each request starts again
        assert list(itertools.islice(backoffs, 700))[:5] == [0.2, 0.5, 1.0, 2.0, 3.0]


def test_kopf_makes_no_copy_of_an_object_for_its_diffs():
    settings = configure_kopf().persistence
    body = kopf.Body(job())
    assert settings.diffbase_storage.build(body=body) == {}
    assert settings.diffbase_storage.fetch(body=body) is None
    essence = kopf.BodyEssence({"spec": {}})
    assert settings.progress_storage.clear(essence=essence) is essence
    assert settings.progress_storage.fetch(key="child", body=body) is None
