"""What other runs make, from the store; and reconciles of several runs that overlap."""

import asyncio
from functools import partial

import pytest

from fusionrun import reconcile as reconcile_module
from fusionrun.cluster.events import EventPoster
from fusionrun.cluster.execute import Executor
from fusionrun.cluster.gather import Gatherer
from fusionrun.cluster.other_runs import OtherRuns
from fusionrun.metrics import Metrics
from fusionrun.names import LABEL_ARTIFACT, LABEL_RUN, LABEL_STAGE
from fusionrun.progress import ProgressBoard
from fusionrun.reconcile import Reconciler
from fusionrun.state.observe.object_fields import WORKLOADS
from fusionrun.state.observe.object_ref import ref_of, run_ref
from support.namespace import Namespace
from support.world import SETTINGS

RESOLVED = {"digests.json": '{"sft": "d1", "dpo": "d2"}'}
TINY = run_ref("demo", "tiny")
COMPLETE = {"conditions": [{"type": "Complete", "status": "True"}]}


def with_claim(run, claim="fusion-data"):
    return run | {"spec": {"storage": {"claimName": claim}}}


@pytest.fixture
def others(store, make):
    """The other runs of the run ``tiny``, which has two artifacts."""
    for run in (make.run(), make.run(name="two", uid="two-uid"), make.run(name="gone", uid="gone-uid")):
        store.put(with_claim(run))
    store.put(with_claim(make.run(name="elsewhere", uid="elsewhere-uid"), "another"))
    store.put(make.child("ConfigMap", "tiny-resolved", data=RESOLVED))
    return OtherRuns(store)


def of(others, store):
    found = others.of(store.get(TINY), store.children(TINY))
    return [(o.run["metadata"]["name"], o.workload["metadata"]["name"]) for o in found]


def job(make, name, run="two", artifact="d1", version=1, stage="", **more):
    labels = {LABEL_RUN: run, LABEL_ARTIFACT: artifact, LABEL_STAGE: stage}
    return make.child("Job", name, version, owner=f"{run}-uid", metadata={"labels": labels, **more})


def test_workloads_of_other_runs_for_the_same_artifacts_are_found(others, store, make):
    store.put(job(make, "same", stage="sft"))
    store.put(job(make, "different", artifact="d3"))
    store.put(job(make, "other-claim", run="elsewhere"))
    store.put(job(make, "other-namespace", namespace="lab"))
    store.put(job(make, "deleted-run", run="unknown"))
    store.put(make.child("Job", "own", metadata={"labels": {LABEL_RUN: "tiny", LABEL_ARTIFACT: "d1"}}))
    assert of(others, store) == [("two", "same")]
    assert others.waiting_for(run_ref("demo", "two")) == {TINY}
    assert others.waiting_for(run_ref("demo", "two"), {"sft"}) == {TINY}
    assert others.waiting_for(run_ref("demo", "two"), {"dpo"}) == set()
    store.remove(run_ref("demo", "two"))
    assert of(others, store) == []
    assert others.waiting_for(run_ref("demo", "two")) == set()


def test_of_the_workloads_that_have_succeeded_the_last_one_counts(others, store, make):
    for minute in (1, 3, 2):
        status = {"completionTime": f"2026-01-01T00:0{minute}:00Z"}
        store.put(job(make, f"job-{minute}") | {"status": status})
    store.put(job(make, "running"))
    assert of(others, store) == [("two", "running"), ("two", "job-3")]


def test_the_pods_of_a_workload_come_with_it(others, store, make):
    store.put(job(make, "job"))
    labels = {"labels": {LABEL_RUN: "two"}}
    store.put(make.child("Pod", "job-0", metadata=labels))
    store.put(make.child("Pod", "job2-0", metadata=labels))
    (found,) = others.of(store.get(TINY), store.children(TINY))
    assert [pod["metadata"]["name"] for pod in found.pods] == ["job-0"]


def test_a_run_that_is_being_deleted_makes_nothing(others, store, make):
    store.put(job(make, "same"))
    store.put(with_claim(make.run(2, name="two", uid="two-uid", deletionTimestamp="2026-01-01T00:00:00Z")))
    assert of(others, store) == []


def test_the_index_follows_changes_of_objects(others, store, make):
    for version, artifact in ((1, "d1"), (2, "d3"), (3, "d2")):
        store.put(job(make, "job", version=version, artifact=artifact))
        assert of(others, store) == ([] if artifact == "d3" else [("two", "job")])
    store.remove(ref_of(job(make, "job")))
    assert store.makers_since("demo", "") == []


def test_workloads_that_are_being_created_count(others, store, make):
    new = job(make, "new")
    with others.creating(run_ref("demo", "two"), [new, make.child("ConfigMap", "task")]):
        assert of(others, store) == [("two", "new")]
    assert of(others, store) == []


@pytest.mark.parametrize("ended", ["Job", "Pod"])
def test_all_workloads_count_between_the_end_of_resolve_and_its_config_map(others, store, make, ended):
    store.put(make.child("ConfigMap", "tiny-resolved", 2, data={"digests.json": "broken"}))
    store.put(job(make, "unrelated", artifact="d3"))
    resolve = partial(job, make, "tiny-resolve", run="tiny", artifact="", stage="resolve")
    store.put(resolve())
    assert of(others, store) == []
    if ended == "Job":
        store.put(resolve(version=2) | {"status": COMPLETE})
    else:
        labels = {"labels": {LABEL_RUN: "tiny", LABEL_STAGE: "resolve"}}
        store.put(make.child("Pod", "tiny-resolve-0", metadata=labels) | {"status": {"phase": "Succeeded"}})
    assert of(others, store) == [("two", "unrelated")]


def test_what_was_complete_before_resolve_started_does_not_count(others, store, make):
    tiny = with_claim(make.run(2)) | {"status": {"stages": [{"name": "resolve", "startTime": "2026-01-02T03:04:05Z"}]}}
    store.put(tiny)
    for name, ended in (("earlier", "2026-01-02T03:04:04Z"), ("later", "2026-01-02T03:04:06Z")):
        store.put(
            job(make, name, artifact={"earlier": "d1", "later": "d2"}[name])
            | {"status": COMPLETE | {"completionTime": ended}}
        )
    assert of(others, store) == [("two", "later")]


async def test_overlapping_reconciles_start_each_artifact_once(store, client, monkeypatch):
    """The requests of one reconcile end while the others decide."""
    namespace = Namespace(**{name: {} for name in "abc"})
    namespace.settle()
    namespace.step()
    for manifest in _objects(namespace):
        store.put(manifest)
        client.add(manifest)
    create = client.create

    async def slow(manifest):
        await asyncio.sleep(0.001)
        return await create(manifest)

    monkeypatch.setattr(reconcile_module, "WATCH_LAG_SECONDS", 0.0)
    monkeypatch.setattr(client, "create", slow)
    monkeypatch.setattr(client, "exists", partial(_yes, client))
    woken = []
    gatherer, executor = Gatherer(client, store), Executor(client, store, EventPoster(client))
    reconciler = Reconciler(SETTINGS, gatherer, ProgressBoard(), executor, Metrics(store.runs), woken.append)
    runs = [run_ref("lab", name) for name in "abc"]
    for _ in range(2):
        await asyncio.gather(*(reconciler.reconcile(run, None) for run in runs))
    made = [
        m for ref, m in client.objects.items() if ref.kind in WORKLOADS and LABEL_ARTIFACT in m["metadata"]["labels"]
    ]
    artifacts = [m["metadata"]["labels"][LABEL_ARTIFACT] for m in made]
    assert len(artifacts) == len(set(artifacts)) == 2
    (maker,) = {m["metadata"]["labels"][LABEL_RUN] for m in made}
    waiting = {run for run in runs if run.name != maker}
    woken.clear()
    for manifest in made:
        client.version += 1
        ended = [{"type": "Failed", "status": "True", "lastTransitionTime": "2026-01-02T03:05:00Z"}]
        metadata = manifest["metadata"] | {"resourceVersion": str(client.version)}
        store.put(manifest | {"metadata": metadata, "status": {"conditions": ended}})
    await reconciler.reconcile(run_ref("lab", maker), None)
    assert set(woken) == waiting
    woken.clear()
    reconciler.forget(run_ref("lab", maker))
    assert set(woken) == waiting


async def _yes(client, ref):
    return True


def _objects(namespace):
    """Return the objects of all runs as the API server would."""
    version = 0
    for name, world in namespace.worlds.items():
        for manifest in (world.run, *world.objects.values()):
            version += 1
            uid = manifest["metadata"].get("uid") or f"uid-{name}-{manifest['metadata']['name']}"
            metadata = manifest["metadata"] | {"uid": uid, "resourceVersion": str(version)}
            if manifest["kind"] == "Pod":
                owner = manifest["metadata"]["name"].rpartition("-")[0]
                metadata["ownerReferences"] = [{"kind": "Job", "name": owner, "uid": f"uid-{name}-{owner}"}]
            yield manifest | {"metadata": metadata}
