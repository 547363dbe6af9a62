import asyncio
import contextlib

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


def build(results, interval=60.0, namespaces=("",)):
    """Return a resync; ``results`` are those of its lists, by namespace if it has several."""
    store, queue = Store(), Queue()
    store.put(run("working"))
    store.put(run("done", finished=True))
    by_namespace = {n: iter(results[n] if isinstance(results, dict) else results) for n in namespaces}

    async def list_namespace(namespace):
        result = next(by_namespace[namespace])
        if isinstance(result, Exception):
            raise result
        return result

    return Resync(list_namespace, namespaces, store, queue, interval), queue


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
    assert not resync.is_ready("demo")
    await until(lambda: resync.is_ready("demo"))
    task.cancel()
    assert "working" in queue.added


async def test_a_resync_follows_a_restarted_watch(monkeypatch, until):
    monkeypatch.setattr(resync_module, "SOON_SECONDS", 0.01)
    resync, queue = build([set(), {run_ref("demo", "done")}], interval=600.0)
    task = asyncio.create_task(resync.run())
    await until(lambda: resync.is_ready("demo"))
    queue.added.clear()
    resync.soon()
    await asyncio.sleep(0.05)
    assert queue.added == [], "the watches have only just started"
    monkeypatch.setattr(resync_module, "START_SECONDS", 0.0)
    resync.soon()
    resync.soon()
    await until(lambda: "done" in queue.added)
    task.cancel()


FORBIDDEN = ClusterError("list", "Job", "gone", 403, 'jobs.batch is forbidden in the namespace "gone"')
AWAY = ClusterError("list", "Job", "*", 0, "connection refused")


async def test_a_forbidden_namespace_stops_no_other_and_is_tried_again(monkeypatch, until, caplog):
    monkeypatch.setattr(resync_module, "RETRY_MAX_SECONDS", 0.01)
    lists = {"gone": [FORBIDDEN, FORBIDDEN, set()], "demo": [set()]}
    resync, queue = build(lists, interval=600.0, namespaces=("gone", "demo"))
    listed = []
    resync.listed = lambda namespace, ok: listed.append((namespace, ok))
    task = asyncio.create_task(resync.run())
    await until(lambda: resync.is_ready("demo"))
    assert not resync.is_ready("gone")
    assert sorted(queue.added) == ["done", "working"]
    assert "cannot list the objects of namespace gone: list Job gone: 403 jobs.batch is forbidden" in caplog.text
    resync.check_ready()
    await until(lambda: resync.is_ready("gone"))
    task.cancel()
    assert listed == [("gone", False), ("demo", True), ("gone", False), ("gone", True)]
    assert resync.forbidden == {}


@pytest.mark.parametrize(
    ("after", "alive", "ready"),
    [(0, True, True), (890, True, True), (910, False, False), (2410, False, False)],
)
async def test_the_probes_of_a_resync_that_hangs(monkeypatch, after, alive, ready):
    resync, _ = build([set()], interval=600.0)
    await resync.once()
    assert passes(monkeypatch, resync, after) == (alive, ready)


@pytest.mark.parametrize(
    ("error", "after", "alive"), [(FORBIDDEN, 5000, True), (AWAY, 2390, True), (AWAY, 2410, False)]
)
async def test_the_probes_while_no_list_succeeds(monkeypatch, error, after, alive):
    """A restart does not help if the API server forbids the list; it may renew a broken connection."""
    resync, _ = build([error, error], interval=600.0)
    now = resync_module.time.monotonic()
    assert passes(monkeypatch, resync, 0) == (True, False), "nothing was listed yet"
    monkeypatch.setattr(resync_module.time, "monotonic", lambda: now + after)
    resync._last_start = now + after
    with contextlib.suppress(ClusterError):
        await resync.once()
    assert passes(monkeypatch, resync, 0) == (alive, False)


def passes(monkeypatch, resync, after):
    """Return whether the liveness and the readiness probe pass after some seconds."""
    now = resync_module.time.monotonic()
    found = []
    with monkeypatch.context() as patch:
        patch.setattr(resync_module.time, "monotonic", lambda: now + after)
        for check in (resync.check_alive, resync.check_ready):
            try:
                check()
            except TimeoutError:
                found.append(False)
            else:
                found.append(True)
    return tuple(found)


def test_finished_is_a_condition():
    assert is_finished(run("x", finished=True))
    assert not is_finished(run("x"))
    assert not is_finished({})
