import asyncio

import pytest

from fusionrun.errors import ClusterError
from fusionrun.handlers import pokes as pokes_module
from fusionrun.handlers.pokes import Pokes
from fusionrun.state.observe.object_ref import run_ref


class Recorder:
    """A reconcile that records its calls and does what it is told."""

    def __init__(self, answers=()):
        self.calls, self.failures, self.results = [], [], []
        self.answers = list(answers)
        self.running = self.most_running = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def reconcile(self, run, woken_at):
        self.calls.append((run, woken_at))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await self.gate.wait()
        finally:
            self.running -= 1
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def failed(self, run, error):
        self.failures.append(str(error))

    def pokes(self):
        return Pokes(self.reconcile, self.failed, lambda result, seconds: self.results.append(result))


def test_pokes_during_a_reconcile_count_as_one_and_never_run_side_by_side(tiny, until):
    async def go():
        recorder = Recorder()
        pokes = recorder.pokes()
        recorder.gate.clear()
        pokes.poke(tiny)
        await until(lambda: recorder.running == 1)
        for _ in range(20):
            pokes.poke(tiny, watched=True)
        recorder.gate.set()
        await until(lambda: not pokes._tasks)
        assert len(recorder.calls) == 2
        assert recorder.most_running == 1

    asyncio.run(go())


def test_runs_do_not_wait_for_each_other(tiny, until):
    async def go():
        recorder = Recorder()
        pokes = recorder.pokes()
        recorder.gate.clear()
        for i in range(5):
            pokes.poke(run_ref("demo", f"run-{i}"))
        await until(lambda: recorder.running == 5)
        await pokes.stop()
        assert not pokes._tasks

    asyncio.run(go())


def test_the_first_watch_event_is_the_one_that_latency_counts_from(tiny, until):
    async def go():
        recorder = Recorder()
        pokes = recorder.pokes()
        pokes.poke(tiny)
        await until(lambda: not pokes._tasks)
        assert recorder.calls[0][1] is None
        loop_before = __import__("time").monotonic()
        pokes.poke(tiny, watched=True)
        first = pokes._again[tiny]
        pokes.poke(tiny, watched=True)
        pokes.poke(tiny)
        await until(lambda: len(recorder.calls) == 2)
        assert recorder.calls[1][1] == first
        assert first >= loop_before

    asyncio.run(go())


def test_a_reconcile_that_asks_for_another_look_gets_it(tiny, until):
    async def go():
        recorder = Recorder(answers=[0.01, 0.0, None])
        pokes = recorder.pokes()
        pokes.poke(tiny)
        await until(lambda: len(recorder.calls) == 3)
        await asyncio.sleep(0.05)
        assert len(recorder.calls) == 3
        assert not pokes._tasks
        assert not pokes._timers

    asyncio.run(go())


def test_many_later_pokes_are_one_and_the_earliest_wins(tiny, until):
    async def go():
        recorder = Recorder()
        pokes = recorder.pokes()
        for seconds in (0.5, 0.02, 0.5, 0.3):
            pokes.poke_later(tiny, seconds)
        await until(lambda: len(recorder.calls) == 1, 0.4)
        await asyncio.sleep(0.05)
        assert len(recorder.calls) == 1
        assert not pokes._timers

    asyncio.run(go())


def test_a_look_now_serves_the_later_one_too(tiny, until):
    async def go():
        recorder = Recorder()
        pokes = recorder.pokes()
        pokes.poke_later(tiny, 0.05)
        pokes.poke(tiny)
        await asyncio.sleep(0.1)
        assert len(recorder.calls) == 1

    asyncio.run(go())


def test_a_failure_is_tried_again_after_a_growing_while(tiny, until, monkeypatch):
    monkeypatch.setattr(pokes_module, "BACKOFF_FIRST_SECONDS", 0.01)
    later = ClusterError("create", "Job", "j", 503, "later")

    async def go():
        recorder = Recorder(answers=[later, later, later])
        pokes = recorder.pokes()
        waits = []
        original = pokes.poke_later
        pokes.poke_later = lambda run, seconds: (waits.append(seconds), original(run, seconds))
        pokes.poke(tiny)
        await until(lambda: recorder.results == ["error"] * 3 + ["success"])
        assert waits == [0.01, 0.02, 0.04]
        assert recorder.failures == [], "what may pass is no event on the run"
        assert not pokes._failures

    asyncio.run(go())


@pytest.mark.parametrize("error", [ClusterError("create", "Job", "j", 403, "quota"), KeyError("bug")])
def test_what_will_not_pass_by_itself_is_told_and_still_tried_again(tiny, until, error):
    async def go():
        recorder = Recorder(answers=[error])
        pokes = recorder.pokes()
        pokes.poke(tiny)
        await until(lambda: recorder.results == ["error"])
        assert len(recorder.failures) == 1
        assert tiny in pokes._timers
        await pokes.stop()

    asyncio.run(go())


def test_news_ends_the_wait_after_a_failure(tiny, until):
    async def go():
        recorder = Recorder(answers=[ClusterError("create", "Job", "j", 503, "")])
        pokes = recorder.pokes()
        pokes.poke(tiny)
        await until(lambda: recorder.results == ["error"])
        pokes.poke(tiny, watched=True)
        await until(lambda: recorder.results == ["error", "success"], 0.2)
        assert not pokes._timers

    asyncio.run(go())


def test_a_forgotten_run_is_not_looked_at_again(tiny):
    async def go():
        recorder = Recorder()
        pokes = recorder.pokes()
        pokes.poke_later(tiny, 0.01)
        pokes.forget(tiny)
        await asyncio.sleep(0.03)
        assert recorder.calls == []

    asyncio.run(go())
