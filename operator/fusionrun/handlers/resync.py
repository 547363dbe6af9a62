"""The slow safety net: list everything at start and once in a while, and look at every unfinished run again.

Watches are the engine. This finds what they missed, a deletion during an outage of the API server above all.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from fusionrun.api.models import Manifest
from fusionrun.api.status import ConditionStatus, ConditionType
from fusionrun.cluster.store import Store, ref_of
from fusionrun.errors import ClusterError
from fusionrun.handlers.pokes import Pokes
from fusionrun.state.live import ObjectRef

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
STALLED_AFTER_INTERVALS = 3.0


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
                await asyncio.sleep(RETRY_SECONDS if not self.ready else self._interval)
            except Exception:
                logger.exception("list failed")
                await asyncio.sleep(self._interval)
            else:
                await asyncio.sleep(self._interval)

    async def once(self) -> None:
        """List everything; poke every unfinished run, and any run at all that there was news of."""
        news = await self._list_everything()
        if not self.ready:
            self.ready = True
            logger.info("watching %d runs", len(self._store.runs()))
        elif news:
            logger.info("the list was ahead of the watches for %d runs", len(news))
        for run in {*news, *(ref_of(run) for run in self._store.runs() if not is_finished(run))}:
            self._pokes.poke(run)

    def check(self) -> float:
        """Return the seconds since the last list began.

        Raises
        ------
        TimeoutError
            If they are too many: this task, or the event loop, hangs.
        """
        age = time.monotonic() - self._beat
        if age > STALLED_AFTER_INTERVALS * max(self._interval, 30.0):
            raise TimeoutError(f"no resync for {age:.0f} s")
        return age


def is_finished(run: Manifest) -> bool:
    """Return whether a run has ended, well or not."""
    conditions = (run.get("status") or {}).get("conditions") or []
    return any(c["type"] == ConditionType.FINISHED and c["status"] == ConditionStatus.TRUE for c in conditions)
