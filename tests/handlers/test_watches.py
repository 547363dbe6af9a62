import asyncio

import kopf
import pytest

from fusionrun.cluster.client import RESOURCES
from fusionrun.cluster.gather import CHILDREN
from fusionrun.cluster.store import Store
from fusionrun.handlers.lifecycle import configure_kopf
from fusionrun.handlers.watches import Watches
from fusionrun.metrics import Metrics
from fusionrun.names import API_VERSION, KIND, LABEL_RUN


class Ears:
    """Watches with everything around them recorded."""

    def __init__(self):
        self.store, self.poked, self.gone, self.ready = Store(), [], [], True
        self.waiting = set()
        self.relisted = 0
        self.watches = Watches(
            store=self.store,
            gatherer=self,
            pokes=self,
            metrics=Metrics(self.store.runs),
            gone=self.gone.append,
            ready=lambda: self.ready,
            relisted=self.relist,
        )

    def relist(self):
        self.relisted += 1

    def poke(self, run, *, watched=False):
        assert watched
        self.poked.append(run.name)

    def claim_changed(self, claim, *, exists):
        return self.waiting if exists else set()

    def hear(self, kind, manifest):
        asyncio.run(self.watches.object_changed(event={"type": kind, "object": manifest}))


@pytest.fixture
def ears():
    return Ears()


def run(version=1):
    metadata = {"name": "tiny", "namespace": "demo", "uid": "u", "resourceVersion": str(version)}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata}


def job(version=1, labels=True):
    metadata = {"name": "j", "namespace": "demo", "uid": "j", "resourceVersion": str(version)}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {**metadata, "labels": {LABEL_RUN: "tiny"} if labels else {}},
    }


def test_news_of_a_child_pokes_its_run(ears):
    ears.hear("ADDED", job(1))
    ears.hear("MODIFIED", job(2))
    ears.hear("DELETED", job(3))
    assert ears.poked == ["tiny"] * 3


def test_what_we_wrote_ourselves_is_no_news(ears):
    ears.store.put(run(7))
    ears.hear("MODIFIED", run(7))
    ears.store.put(job(8))
    ears.hear("ADDED", job(8))
    assert ears.poked == []


def test_a_list_after_a_broken_watch_pokes_only_for_what_changed(ears):
    ears.hear("ADDED", job(1))
    ears.hear(None, job(1))
    ears.hear(None, job(2))
    assert len(ears.poked) == 2


def test_nobody_is_poked_before_the_store_is_complete(ears):
    ears.ready = False
    ears.hear(None, run())
    assert ears.poked == []
    assert ears.store.runs()


def test_a_deleted_run_is_forgotten_and_not_reconciled(ears):
    ears.hear("ADDED", run(1))
    ears.poked.clear()
    ears.hear("DELETED", run(2))
    assert ears.poked == []
    assert [r.name for r in ears.gone] == ["tiny"]


def test_late_news_of_a_namesake_that_is_gone_is_none_of_its_successor(ears):
    successor = run(9)
    successor["metadata"]["uid"] = "v"
    ears.hear("ADDED", run(1))
    ears.hear("ADDED", successor)
    ears.hear("DELETED", run(2))
    assert ears.gone == []
    assert ears.store.runs() == [successor]
    ears.hear("DELETED", successor | {"metadata": successor["metadata"] | {"resourceVersion": "10"}})
    assert [r.name for r in ears.gone] == ["tiny"]


def test_a_claim_pokes_who_waits_for_it(ears, tiny):
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "c", "namespace": "demo", "resourceVersion": "1"},
    }
    ears.waiting = {tiny}
    asyncio.run(ears.watches.claim_changed(event={"type": "DELETED", "object": claim}))
    assert ears.poked == []
    asyncio.run(ears.watches.claim_changed(event={"type": None, "object": claim}))
    assert ears.poked == ["tiny"]


def test_kopf_writes_nothing_on_anybodys_objects(ears):
    """Handlers other than on.event add a finalizer or an annotation: none may ever be registered."""
    registry, settings = kopf.OperatorRegistry(), kopf.OperatorSettings()
    ears.watches.register(registry, settings)
    assert len(registry._watching.get_all_handlers()) == len(CHILDREN) + 2
    for quiet in (registry._changing, registry._spawning, registry._indexing, registry._webhooks):
        assert not list(quiet.get_all_handlers())


def test_kopf_makes_no_copy_of_an_object_for_its_diffs():
    settings = configure_kopf().persistence
    body = kopf.Body(job())
    assert settings.diffbase_storage.build(body=body) == {}
    assert settings.diffbase_storage.fetch(body=body) is None
    essence = kopf.BodyEssence({"spec": {}})
    assert settings.progress_storage.clear(essence=essence) is essence
    assert settings.progress_storage.fetch(key="child", body=body) is None


def test_every_child_is_watched_by_label_under_its_plural(ears):
    registry, settings = kopf.OperatorRegistry(), kopf.OperatorSettings()
    ears.watches.register(registry, settings)
    selected = {(s.group, s.version, s.any_name): v for s, v in settings.watching.label_selectors.items()}
    for api_version, kind in CHILDREN:
        group, _, version = api_version.rpartition("/")
        assert selected[group, version, RESOURCES[api_version, kind][0]] == LABEL_RUN


def test_a_watch_that_begins_anew_asks_for_a_resync(ears):
    """Its list does not show what was deleted while it was broken."""
    ears.hear("MODIFIED", job(2))
    assert ears.relisted == 0
    ears.hear(None, job(2))
    assert ears.relisted == 1
