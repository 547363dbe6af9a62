"""The watch of one kind: where it starts, and how it goes on after an error."""

import asyncio
import itertools

import pytest

from fusionrun.cluster.store import Store
from fusionrun.errors import ClusterError
from fusionrun.handlers import object_watch
from fusionrun.handlers.object_watch import ObjectWatch


def event(change, version, name="p"):
    return change, {"metadata": {"name": name, "namespace": "demo", "resourceVersion": str(version)}}


def error(status):
    return ClusterError("watch", "Pod", "*", status, "gone")


class Client:
    """Replies to each watch with the next of some lists of events, in which an error ends the list."""

    def __init__(self, *replies):
        self.replies, self.versions, self.over = list(replies), [], asyncio.Event()

    async def watch(self, api_version, kind, namespace, label_selector, version):
        assert (api_version, kind, namespace, label_selector) == ("v1", "Pod", "", "label")
        self.versions.append(version)
        if not self.replies:
            self.over.set()
            await asyncio.Event().wait()
        for item in self.replies.pop(0):
            if isinstance(item, Exception):
                raise item
            yield item


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(object_watch, "BACKOFF_FIRST_SECONDS", 0.0)
    monkeypatch.setattr(object_watch, "RECONNECT_SECONDS", 0.0)


async def follow(client, changed, listed_at="", restarted=list):
    store = Store()
    if listed_at:
        store.remove_absent("v1", "Pod", "", set(), listed_at)

    async def listed():
        pass

    watch = ObjectWatch(client, store, "v1", "Pod", "", "label", changed, restarted)
    task = asyncio.create_task(watch.run(listed))
    async with asyncio.timeout(2):
        await client.over.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_it_starts_at_the_list_and_goes_on_from_the_last_version():
    client, seen = Client([event("ADDED", 8), event("BOOKMARK", 12)], [event("DELETED", 13), error(0)]), []
    await follow(client, lambda *change: seen.append(change), listed_at="7")
    assert client.versions == ["7", "12", "13"]
    assert seen == [event("ADDED", 8), event("DELETED", 13)]


async def test_an_expired_version_restarts_it_without_one():
    """The API server then sends the objects that exist, and a resync finds those that were deleted."""
    client, restarts = Client([event("ADDED", 8), error(410)], [event("ADDED", 20)]), itertools.count()
    await follow(client, lambda *_: None, listed_at="7", restarted=lambda: next(restarts))
    assert client.versions == ["7", "", "20"]
    assert next(restarts) == 1


async def test_any_other_error_is_logged_and_restarts_it(caplog):
    client = Client([event("ADDED", 8), KeyError("object")])
    await follow(client, lambda *_: None)
    assert client.versions == ["", "8"]
    assert "the watch of Pod in all namespaces starts again: 'object'" in caplog.text


async def test_an_object_that_cannot_be_handled_does_not_stop_it(caplog):
    client, seen = Client([event("ADDED", 8, "bad"), event("ADDED", 9)]), []

    def changed(_, manifest):
        if manifest["metadata"]["name"] == "bad":
            raise KeyError("spec")
        seen.append(manifest["metadata"]["name"])

    await follow(client, changed)
    assert (seen, client.versions) == (["p"], ["", "9"])
    assert "cannot handle the event ADDED of Pod bad" in caplog.text
