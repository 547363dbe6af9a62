import asyncio

import pytest

from fusionrun.cluster.store import Store
from fusionrun.errors import ClusterError
from fusionrun.handlers import resync as resync_module
from fusionrun.handlers.resync import Resync
from fusionrun.names import API_VERSION, KIND
from fusionrun.state.observe.object_fields import is_finished
from fusionrun.state.observe.object_ref import run_ref


def run(name, finished=False):
    metadata = {"name": name, "namespace": "demo", "uid": name, "resourceVersion": "1"}
    status = {"conditions": [{"type": "Finished", "status": str(finished)}]}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "status": status}


class Queue:
    def __init__(self):
        self.added = []

    def add(self, run):
        self.added.append(run.name)


def build(results, interval=60.0):
    store, queue = Store(), Queue()
    store.put(run("working"))
    store.put(run("done", finished=True))
    results = iter(results)

    async def list_everything():
        result = next(results)
        if isinstance(result, Exception):
            raise result
        return result

    return Resync(list_everything, store, queue, interval), queue


async def test_a_finished_run_is_reconciled_at_the_start_and_after_a_change():
    """At the start, since the time at which its objects expire is stored nowhere else."""
    resync, queue = build([set(), set(), {run_ref("demo", "done")}])
    for added in (["done", "working"], ["working"], ["done", "working"]):
        queue.added.clear()
        await resync.once()
        assert sorted(queue.added) == added


async def test_it_is_ready_only_after_a_complete_list(monkeypatch, until):
    monkeypatch.setattr(resync_module, "RETRY_SECONDS", 0.01)
    away = ClusterError("list", "Job", "*", 0, "connection refused")
    resync, queue = build([away, RuntimeError("a bug"), set()], interval=0.01)
    task = asyncio.create_task(resync.run())
    await asyncio.sleep(0)
    assert not resync.ready
    await until(lambda: resync.ready)
    task.cancel()
    assert "working" in queue.added


async def test_a_resync_follows_a_restarted_watch(monkeypatch, until):
    monkeypatch.setattr(resync_module, "SOON_SECONDS", 0.01)
    resync, queue = build([set(), {run_ref("demo", "done")}], interval=600.0)
    task = asyncio.create_task(resync.run())
    await until(lambda: resync.ready)
    queue.added.clear()
    resync.soon()
    await asyncio.sleep(0.05)
    assert queue.added == [], "the watches have only just started"
    monkeypatch.setattr(resync_module, "START_SECONDS", 0.0)
    resync.soon()
    resync.soon()
    await until(lambda: "done" in queue.added)
    task.cancel()


def test_a_resync_that_hangs_fails_the_probe(monkeypatch):
    resync, _ = build([], interval=600.0)
    assert resync.check() < 1
    now = resync_module.time.monotonic()
    monkeypatch.setattr(resync_module.time, "monotonic", lambda: now + 890)
    assert resync.check() > 889, "within the interval, and while a resync takes long"
    monkeypatch.setattr(resync_module.time, "monotonic", lambda: now + 910)
    with pytest.raises(TimeoutError, match="no resync for 91"):
        resync.check()


def test_finished_is_a_condition():
    assert is_finished(run("x", finished=True))
    assert not is_finished(run("x"))
    assert not is_finished({})
