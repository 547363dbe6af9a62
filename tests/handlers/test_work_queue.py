import asyncio
import time

import pytest

from fusionrun.errors import ClusterError
from fusionrun.handlers import work_queue
from fusionrun.handlers.work_queue import WorkQueue
from fusionrun.state.observe.object_ref import run_ref

UNAVAILABLE = ClusterError("create", "Job", "j", 503, "later")


class Recorder:
    """A reconcile that records its calls and returns, or raises, the results of the test."""

    def __init__(self, *returned):
        self.calls, self.failures, self.results, self.waits = [], [], [], []
        self.returned = list(returned)
        self.running = self.most_running = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.queue = WorkQueue(
            self.reconcile,
            lambda run, error: self.failures.append(str(error)),
            lambda result, seconds: self.results.append(result),
        )

    async def reconcile(self, run, woken_at):
        self.calls.append((run, woken_at))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await self.gate.wait()
        finally:
            self.running -= 1
        result = self.returned.pop(0) if self.returned else None
        if isinstance(result, Exception):
            raise result
        return result


async def test_requests_during_a_reconcile_are_merged_and_never_run_concurrently(tiny, until):
    recorder = Recorder()
    recorder.gate.clear()
    recorder.queue.add(tiny)
    await until(lambda: recorder.running == 1)
    for _ in range(20):
        recorder.queue.add(tiny, watched_at=time.monotonic())
    recorder.gate.set()
    await until(lambda: not len(recorder.queue))
    assert len(recorder.calls) == 2
    assert recorder.most_running == 1


async def test_runs_do_not_wait_for_each_other(until):
    recorder = Recorder()
    recorder.gate.clear()
    for i in range(5):
        recorder.queue.add(run_ref("demo", f"run-{i}"))
    await until(lambda: recorder.running == 5)
    await recorder.queue.stop()
    assert len(recorder.queue) == 0


async def test_latency_counts_from_the_first_watch_event(tiny, until):
    recorder = Recorder()
    recorder.queue.add(tiny)
    await until(lambda: not len(recorder.queue))
    assert recorder.calls[0][1] is None
    before = time.monotonic()
    recorder.queue.add(tiny, watched_at=time.monotonic())
    after = time.monotonic()
    while time.monotonic() == after:
        pass
    recorder.queue.add(tiny, watched_at=time.monotonic())
    recorder.queue.add(tiny)
    await until(lambda: len(recorder.calls) == 2)
    assert before <= recorder.calls[1][1] <= after


async def test_a_requested_reconcile_follows(tiny, until):
    recorder = Recorder(0.01, 0.0, None)
    recorder.queue.add(tiny)
    await until(lambda: len(recorder.calls) == 3)
    await asyncio.sleep(0.05)
    assert len(recorder.calls) == 3
    assert tiny not in recorder.queue


@pytest.mark.parametrize("delays", [(0.06, 0.02, 0.5, 0.3), (0.05, 0.0)], ids=["later", "now"])
async def test_of_many_requests_the_earliest_wins(tiny, until, delays):
    recorder = Recorder()
    for seconds in delays:
        recorder.queue.add_after(tiny, seconds) if seconds else recorder.queue.add(tiny)
    await until(lambda: len(recorder.calls) == 1, 0.4)
    await asyncio.sleep(0.1)
    assert len(recorder.calls) == 1
    assert tiny not in recorder.queue


async def test_a_failure_is_retried_with_a_growing_delay_until_a_success(tiny, until, monkeypatch):
    monkeypatch.setattr(work_queue, "BACKOFF_FIRST_SECONDS", 0.01)
    recorder = Recorder(*[UNAVAILABLE] * 3, 0.0, UNAVAILABLE)
    waits, add_after = [], recorder.queue.add_after
    recorder.queue.add_after = lambda run, seconds: (waits.append(seconds), add_after(run, seconds))
    recorder.queue.add(tiny)
    await until(lambda: recorder.results == ["error"] * 3 + ["success", "error", "success"])
    assert waits == [0.01, 0.02, 0.04, 0.0, 0.01]
    assert recorder.failures == [], "no event on the run for an error that a retry may fix"


@pytest.mark.parametrize("error", [ClusterError("create", "Job", "j", 403, "quota"), KeyError("bug")])
async def test_an_error_that_a_retry_may_not_fix_is_reported_and_still_retried(tiny, until, error):
    recorder = Recorder(error)
    recorder.queue.add(tiny)
    await until(lambda: recorder.results == ["error"] and not len(recorder.queue))
    assert len(recorder.failures) == 1
    assert tiny in recorder.queue
    await recorder.queue.stop()


async def test_a_change_ends_the_delay_after_a_failure(tiny, until):
    recorder = Recorder(UNAVAILABLE)
    recorder.queue.add(tiny)
    await until(lambda: recorder.results == ["error"])
    recorder.queue.add(tiny, watched_at=time.monotonic())
    await until(lambda: recorder.results == ["error", "success"], 0.2)
    await until(lambda: tiny not in recorder.queue)


async def test_a_forgotten_run_is_not_reconciled(tiny):
    recorder = Recorder()
    recorder.queue.add_after(tiny, 0.01)
    recorder.queue.forget(tiny)
    await asyncio.sleep(0.03)
    assert recorder.calls == []


async def test_a_timer_that_fired_does_not_outlive_a_task_that_died(tiny, until):
    """The task of a run dies if an error cannot be reported."""
    recorder = Recorder(ValueError("broken"), None)
    lost = []
    recorder.queue = WorkQueue(recorder.reconcile, lambda run, error: lost.append(run) or 1 / 0, lambda *_: None)
    recorder.gate.clear()
    recorder.queue.add(tiny)
    await until(lambda: recorder.calls)
    recorder.queue.add_after(tiny, 0)
    await asyncio.sleep(0.01)  # the timer fires during the reconcile
    recorder.gate.set()
    await until(lambda: lost and not len(recorder.queue))
    recorder.queue.add_after(tiny, 0)
    await until(lambda: len(recorder.calls) == 2)
