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
    conditions = [{"type": "Finished", "status": "True" if finished else "False"}]
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name, "namespace": "demo", "uid": name, "resourceVersion": "1"},
        "status": {"conditions": conditions},
    }


class Pokes:
    def __init__(self):
        self.poked = []

    def poke(self, run):
        self.poked.append(run.name)


def build(answers, interval=60.0):
    store, pokes = Store(), Pokes()
    store.put(run("working"))
    store.put(run("done", finished=True))
    answers = iter(answers)

    async def list_everything():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Resync(list_everything, store, pokes, interval), pokes


def test_a_finished_run_is_reconciled_at_the_start_and_when_there_is_news():
    """At the start, since the time at which its objects are deleted is kept nowhere else."""
    resync, pokes = build([set(), set(), {run_ref("demo", "done")}])
    for poked in (["done", "working"], ["working"], ["done", "working"]):
        pokes.poked.clear()
        asyncio.run(resync.once())
        assert sorted(pokes.poked) == poked


def test_it_is_ready_only_after_a_whole_list(monkeypatch, until):
    monkeypatch.setattr(resync_module, "RETRY_SECONDS", 0.01)
    away = ClusterError("list", "Job", "*", 0, "connection refused")
    resync, pokes = build([away, RuntimeError("a bug"), set()], interval=0.01)

    async def go():
        task = asyncio.create_task(resync.run())
        await asyncio.sleep(0)
        assert not resync.ready
        await until(lambda: resync.ready)
        task.cancel()

    asyncio.run(go())
    assert "working" in pokes.poked


def test_a_resync_follows_a_broken_watch(monkeypatch, until):
    monkeypatch.setattr(resync_module, "SOON_SECONDS", 0.01)
    resync, pokes = build([set(), {run_ref("demo", "done")}], interval=600.0)

    async def go():
        task = asyncio.create_task(resync.run())
        await until(lambda: resync.ready)
        pokes.poked.clear()
        resync.soon()
        await asyncio.sleep(0.05)
        assert pokes.poked == [], "the watches have just begun"
        monkeypatch.setattr(resync_module, "START_SECONDS", 0.0)
        resync.soon()
        resync.soon()
        await until(lambda: "done" in pokes.poked)
        task.cancel()

    asyncio.run(go())


def test_a_resync_that_hangs_fails_the_probe(monkeypatch):
    resync, _ = build([], interval=600.0)
    assert resync.check() < 1
    now = resync_module.time.monotonic()
    monkeypatch.setattr(resync_module.time, "monotonic", lambda: now + 890)
    assert resync.check() > 889, "between two resyncs all is well, and while one takes its time"
    monkeypatch.setattr(resync_module.time, "monotonic", lambda: now + 910)
    with pytest.raises(TimeoutError, match="no resync for 91"):
        resync.check()


def test_finished_is_a_condition():
    assert is_finished(run("x", finished=True))
    assert not is_finished(run("x"))
    assert not is_finished({})
