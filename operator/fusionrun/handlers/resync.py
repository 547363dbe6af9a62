"""Resync: list all objects at start and every ten minutes, and reconcile every unfinished run.

A resync finds changes that the watches missed, such as deletions while the API server was unavailable. A watch that
restarts with a list may have missed deletions, so a resync follows within seconds.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

from fusionrun.cluster.store import Store
from fusionrun.errors import ClusterError
from fusionrun.handlers.work_queue import WorkQueue
from fusionrun.state.observe.object_fields import is_finished
from fusionrun.state.observe.object_ref import ObjectRef, ref_of

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
"""Time to the next attempt while no list has succeeded yet; no run is reconciled before that."""
SOON_SECONDS = 2.0
"""Time from the restart of a watch to the resync. All watches usually restart together, and one resync is enough."""
START_SECONDS = 60.0
"""Time after the first resync during which the watches start: their first lists do not request another resync."""
RETRY_MAX_SECONDS = 60.0
"""Longest time to the next attempt after a failed list."""
LIST_MAX_SECONDS = 300.0
"""Longest time that a resync may take before the operator counts as hung.

Every request ends within 30 seconds (``cluster.client``), and most resyncs take a few seconds.
"""


@dataclass
class Resync:
    """Lists all objects and reconciles runs, periodically."""

    list_everything: Callable[[], Awaitable[set[ObjectRef]]]
    """Updates the store; returns the runs whose objects changed."""
    store: Store
    queue: WorkQueue
    interval_seconds: float
    ready: bool = False
    """Whether the store has been complete; no run is reconciled before that."""
    _last_start: float = field(default_factory=time.monotonic)
    _first_end: float = float("inf")
    _requested: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Resync until cancelled; a failure is logged and retried."""
        while True:
            self._last_start = time.monotonic()
            try:
                await self.once()
            except ClusterError as error:
                logger.warning("resync failed: %s", error)
                await asyncio.sleep(min(self.interval_seconds, RETRY_MAX_SECONDS) if self.ready else RETRY_SECONDS)
            except Exception:
                logger.exception("resync failed")
                await asyncio.sleep(min(self.interval_seconds, RETRY_MAX_SECONDS))
            else:
                await self._pause()

    def soon(self) -> None:
        """Resync within seconds: a watch has restarted and does not report the objects that were deleted before."""
        if time.monotonic() - self._first_end > START_SECONDS:
            self._requested.set()

    async def _pause(self) -> None:
        """Wait for the interval, or until a resync is requested."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._requested.wait(), self.interval_seconds)
            await asyncio.sleep(min(SOON_SECONDS, self.interval_seconds))
        self._requested.clear()

    async def once(self) -> None:
        """List all objects; reconcile every unfinished run and every run whose objects changed.

        The first resync also reconciles finished runs, to schedule the deletion of their objects.
        """
        changed = await self.list_everything()
        first, self.ready = not self.ready, True
        if first:
            self._first_end = time.monotonic()
            logger.info("watching %d runs", len(self.store.runs()))
        elif changed:
            logger.info("resync found changes of %d runs that no watch had reported", len(changed))
        for run in {*changed, *(ref_of(run) for run in self.store.runs() if first or not is_finished(run))}:
            self.queue.add(run)

    def health(self) -> web.Application:
        """Return the web application that serves ``/healthz`` for the kubelet."""

        async def healthz(_: web.Request) -> web.Response:
            try:
                return web.json_response({"resync_age_seconds": round(self.check(), 3)})
            except TimeoutError as error:
                return web.Response(status=503, text=str(error))

        application = web.Application()
        application.router.add_get("/healthz", healthz)
        return application

    def check(self) -> float:
        """Return the seconds since the last resync began, for the liveness probe.

        If the event loop hangs, the probe gets no reply. This check detects a resync that hangs alone.

        Raises
        ------
        TimeoutError
            If they exceed the interval plus ``LIST_MAX_SECONDS``.
        """
        age = time.monotonic() - self._last_start
        if age > self.interval_seconds + LIST_MAX_SECONDS:
            raise TimeoutError(f"no resync for {age:.0f} s")
        return age
