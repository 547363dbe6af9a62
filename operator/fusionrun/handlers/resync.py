"""Resync: list everything at start and every ten minutes, and reconcile every unfinished run.

Watches drive the operator. A resync finds what they missed, above all a deletion while the API server was away. When a
watch begins anew with a list, it may have missed some, and a resync follows soon.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

from fusionrun.cluster.store import Store
from fusionrun.errors import ClusterError
from fusionrun.handlers.pokes import Pokes
from fusionrun.state.observe.object_fields import is_finished
from fusionrun.state.observe.object_ref import ObjectRef, ref_of

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
"""Time to the next try while no list has ever succeeded: no decision is made before."""
SOON_SECONDS = 2.0
"""Time from a broken watch to the resync: the watches of all kinds mostly break together, and one resync serves all."""
START_SECONDS = 60.0
"""Time after the first resync in which all watches have begun: that resync serves their first lists."""
RETRY_MAX_SECONDS = 60.0
"""Longest time to the next try after a failed list."""
LIST_MAX_SECONDS = 300.0
"""Longest time that a resync may take before the operator counts as hung.

Every request ends within 30 seconds (``cluster.client``), and most resyncs take a few.
"""


class Resync:
    """List and poke, for ever.

    Parameters
    ----------
    list_everything
        Brings the store up to date; returns the runs that there was news of.
    store, pokes
        What is known, and who is told.
    interval_seconds
        Time between two lists.
    """

    def __init__(
        self,
        list_everything: Callable[[], Awaitable[set[ObjectRef]]],
        store: Store,
        pokes: Pokes,
        interval_seconds: float,
    ) -> None:
        self._list_everything = list_everything
        self._store = store
        self._pokes = pokes
        self._interval = interval_seconds
        self._beat = time.monotonic()
        self._wanted = asyncio.Event()
        self._started = float("inf")
        self.ready = False
        """Whether the store was complete once: no decision is made before."""

    async def run(self) -> None:
        """List and poke until cancelled; a failure is logged and tried again."""
        while True:
            self._beat = time.monotonic()
            try:
                await self.once()
            except ClusterError as error:
                logger.warning("list failed: %s", error)
                await asyncio.sleep(min(self._interval, RETRY_MAX_SECONDS) if self.ready else RETRY_SECONDS)
            except Exception:
                logger.exception("list failed")
                await asyncio.sleep(min(self._interval, RETRY_MAX_SECONDS))
            else:
                await self._pause()

    def soon(self) -> None:
        """Resync within seconds if a watch has begun anew: it reports no object that was deleted meanwhile."""
        if time.monotonic() - self._started > START_SECONDS:
            self._wanted.set()

    async def _pause(self) -> None:
        """Wait for the interval, or until a resync is wanted."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wanted.wait(), self._interval)
            await asyncio.sleep(min(SOON_SECONDS, self._interval))
        self._wanted.clear()

    async def once(self) -> None:
        """List everything; reconcile every unfinished run, and every run that there was news of.

        The first time reconcile the finished ones, too: that sets the times at which their objects are deleted.
        """
        news = await self._list_everything()
        first, self.ready = not self.ready, True
        if first:
            self._started = time.monotonic()
            logger.info("watching %d runs", len(self._store.runs()))
        elif news:
            logger.info("the list was ahead of the watches for %d runs", len(news))
        for run in {*news, *(ref_of(run) for run in self._store.runs() if first or not is_finished(run))}:
            self._pokes.poke(run)

    def check(self) -> float:
        """Return the seconds since the last resync began.

        An event loop that hangs does not answer the probe at all. This is for a resync that hangs while the rest of the
        operator works: the next one would have begun after the interval and the time that the last one took.

        Raises
        ------
        TimeoutError
            If they are more than the interval and ``LIST_MAX_SECONDS``.
        """
        age = time.monotonic() - self._beat
        if age > self._interval + LIST_MAX_SECONDS:
            raise TimeoutError(f"no resync for {age:.0f} s")
        return age
