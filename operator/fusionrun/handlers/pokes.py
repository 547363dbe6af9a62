"""Who asks for a reconcile, and when it runs: one at a time per run, pokes in between count as one.

A run has a task only while there is something to do; a later look is a timer of the event loop. A failure is tried
again after a growing while, or at once when a watch brings news.
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
Failed = Callable[[ObjectRef, Exception], Awaitable[None]]
Done = Callable[[str, float], None]


class Pokes:
    """Reconcile the runs that are poked.

    Parameters
    ----------
    reconcile
        Reconciles a run; returns in how many seconds to look again.
    failed
        Told of a failure that trying again may not mend.
    done
        Told of every reconcile: ``"success"`` or ``"error"``, and its seconds.
    """

    def __init__(self, reconcile: Reconcile, failed: Failed, done: Done) -> None:
        self._reconcile = reconcile
        self._failed = failed
        self._done = done
        self._tasks: dict[ObjectRef, asyncio.Task[None]] = {}
        self._again: dict[ObjectRef, float | None] = {}
        self._timers: dict[ObjectRef, asyncio.TimerHandle] = {}
        self._failures: dict[ObjectRef, int] = {}

    def poke(self, run: ObjectRef, *, watched: bool = False) -> None:
        """Ask for a reconcile now; ``watched`` when a watch event is the reason."""
        at = time.monotonic() if watched else None
        self._again[run] = self._again.get(run) or at
        if run not in self._tasks:
            self._tasks[run] = asyncio.get_running_loop().create_task(self._work(run), name=f"run {run.name}")

    def poke_later(self, run: ObjectRef, seconds: float) -> None:
        """Ask for a reconcile within so many seconds; an earlier one, whatever its reason, serves as well."""
        loop = asyncio.get_running_loop()
        when = loop.time() + seconds
        timer = self._timers.get(run)
        if timer is not None and timer.when() <= when:
            return
        if timer is not None:
            timer.cancel()
        self._timers[run] = loop.call_at(when, self._timer_fired, run)

    def forget(self, run: ObjectRef) -> None:
        """Ask for nothing more of a run that is gone."""
        self._failures.pop(run, None)
        timer = self._timers.pop(run, None)
        if timer is not None:
            timer.cancel()

    async def stop(self) -> None:
        """End every task; what they were doing is safe to leave half done."""
        for run in list(self._timers):
            self.forget(run)
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _timer_fired(self, run: ObjectRef) -> None:
        del self._timers[run]
        self.poke(run)

    async def _work(self, run: ObjectRef) -> None:
        try:
            while run in self._again:
                self.forget_timer(run)
                await self._once(run, self._again.pop(run))
        finally:
            del self._tasks[run]
            self._again.pop(run, None)

    def forget_timer(self, run: ObjectRef) -> None:
        """Drop the pending look at a run: it is being looked at."""
        timer = self._timers.pop(run, None)
        if timer is not None:
            timer.cancel()

    async def _once(self, run: ObjectRef, woken_at: float | None) -> None:
        started = time.monotonic()
        result = "success"
        try:
            later = await self._reconcile(run, woken_at)
        except Exception as error:  # noqa: BLE001 -- one run's bad luck, or our bug, must not stop the others
            result = "error"
            later = await self._fail(run, error)
        else:
            self._failures.pop(run, None)
        self._done(result, time.monotonic() - started)
        if later is not None:
            self.poke_later(run, later)

    async def _fail(self, run: ObjectRef, error: Exception) -> float:
        count = self._failures[run] = self._failures.get(run, 0) + 1
        where = {"run": f"{run.namespace}/{run.name}"}
        if isinstance(error, ClusterError):
            logger.warning("reconcile failed (%d): %s", count, error, extra=where)
        else:
            logger.error("reconcile failed (%d)", count, exc_info=error, extra=where)
        if not (isinstance(error, ClusterError) and error.retryable):
            await self._failed(run, error)
        return float(min(BACKOFF_MAX_SECONDS, BACKOFF_FIRST_SECONDS * 2 ** (count - 1)))
