"""The queue of runs to reconcile, as in controller-runtime: one reconcile per run at a time, duplicates are merged.

A run has a task only while it is reconciled. A failed reconcile is retried with exponential back-off, or at once when a
watch reports a change.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from fusionrun.errors import ClusterError
from fusionrun.state.observe.object_ref import ObjectRef

logger = logging.getLogger(__name__)

BACKOFF_FIRST_SECONDS = 0.25
BACKOFF_MAX_SECONDS = 30.0

Reconcile = Callable[[ObjectRef, float | None], Awaitable[float | None]]


class WorkQueue:
    """Runs to reconcile.

    Parameters
    ----------
    reconcile
        Reconciles a run; returns in how many seconds to reconcile it again.
    failed
        Called after a failure that a retry may not fix.
    done
        Called after every reconcile with ``"success"`` or ``"error"`` and its duration in seconds.
    """

    def __init__(
        self, reconcile: Reconcile, failed: Callable[[ObjectRef, Exception], None], done: Callable[[str, float], None]
    ) -> None:
        self._reconcile = reconcile
        self._failed = failed
        self._done = done
        self._tasks: dict[ObjectRef, asyncio.Task[None]] = {}
        self._queued: dict[ObjectRef, float | None] = {}
        self._timers: dict[ObjectRef, asyncio.TimerHandle] = {}
        self._later: dict[ObjectRef, float] = {}
        """Seconds of ``add_after`` for the runs that are being reconciled."""
        self._failures: dict[ObjectRef, int] = {}

    def __len__(self) -> int:
        """Return the number of runs that are being reconciled, or will be without a delay."""
        return len(self._tasks)

    def __contains__(self, run: ObjectRef) -> bool:
        """Return whether a run is being reconciled, or will be now or later."""
        return run in self._tasks or run in self._timers

    def add(self, run: ObjectRef, *, watched_at: float | None = None) -> None:
        """Reconcile a run now, or again if it is being reconciled.

        ``watched_at`` is the monotonic time of the change, if a watch event is the reason.
        """
        self._queued[run] = self._queued.get(run) or watched_at
        if run not in self._tasks:
            self._tasks[run] = asyncio.get_running_loop().create_task(self._work(run), name=f"run {run.name}")

    def add_after(self, run: ObjectRef, seconds: float) -> None:
        """Reconcile a run within a time; any earlier reconcile replaces this one.

        While the run is being reconciled, the time counts from the end of that: its status may have just been written.
        """
        if run in self._tasks:
            self._later[run] = min(seconds, self._later.get(run, seconds))
        else:
            self._set_timer(run, seconds)

    def _set_timer(self, run: ObjectRef, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        when = loop.time() + seconds
        timer = self._timers.get(run)
        if timer is not None and timer.when() <= when:
            return
        self._cancel_timer(run)
        self._timers[run] = loop.call_at(when, self._fire, run)

    def forget(self, run: ObjectRef) -> None:
        """Forget a deleted run."""
        self._failures.pop(run, None)
        self._later.pop(run, None)
        self._cancel_timer(run)

    async def stop(self) -> None:
        """Cancel every reconcile; an interrupted one is safe to repeat."""
        for run in list(self._timers):
            self._cancel_timer(run)
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _fire(self, run: ObjectRef) -> None:
        del self._timers[run]
        self.add(run)

    def _cancel_timer(self, run: ObjectRef) -> None:
        timer = self._timers.pop(run, None)
        if timer is not None:
            timer.cancel()

    async def _work(self, run: ObjectRef) -> None:
        try:
            while run in self._queued:
                self._cancel_timer(run)
                self._later.pop(run, None)
                await self._once(run, self._queued.pop(run))
        finally:
            del self._tasks[run]
            self._queued.pop(run, None)
            later = self._later.pop(run, None)
        if later is not None:
            self._set_timer(run, later)

    async def _once(self, run: ObjectRef, woken_at: float | None) -> None:
        started = time.monotonic()
        result = "success"
        try:
            later = await self._reconcile(run, woken_at)
        except Exception as error:  # noqa: BLE001 -- an error of one run must not stop the others
            result = "error"
            later = self._fail(run, error)
        else:
            self._failures.pop(run, None)
        self._done(result, time.monotonic() - started)
        if later is not None:
            self.add_after(run, later)

    def _fail(self, run: ObjectRef, error: Exception) -> float:
        count = self._failures[run] = self._failures.get(run, 0) + 1
        where = {"run": f"{run.namespace}/{run.name}"}
        if isinstance(error, ClusterError):
            logger.warning("reconcile failed (%d in a row): %s", count, error, extra=where)
        else:
            logger.error("reconcile failed (%d in a row)", count, exc_info=error, extra=where)
        if not (isinstance(error, ClusterError) and error.retryable):
            self._failed(run, error)
        return float(min(BACKOFF_MAX_SECONDS, BACKOFF_FIRST_SECONDS * 2 ** (count - 1)))
