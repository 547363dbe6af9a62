"""Whether this operator acts: it holds the Lease, or it was started without one."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine

from fusionrun.cluster.lease import Lease
from fusionrun.errors import NotLeaderError

logger = logging.getLogger(__name__)


class Leadership:
    """The Lease of this process, if it uses one; ``report`` is called with 1 when it acts, and with 0 otherwise."""

    def __init__(self, lease: Lease | None, report: Callable[[float], None]) -> None:
        self._lease = lease
        self._report = report
        self._acts = False
        report(0)

    def guard(self) -> None:
        """Raise NotLeaderError if another operator may act: called before each write."""
        if self._lease is not None:
            self._lease.guard()

    def waits_for(self) -> str | None:
        """Return the holder of the Lease while this process waits for it, empty if it is unknown; None if it acts."""
        return None if self._acts or self._lease is None else self._lease.other

    @contextlib.asynccontextmanager
    async def held(self, stop: asyncio.Event) -> AsyncIterator[None]:
        """Wait for the Lease or for ``stop``; then renew it, and set ``stop`` when it is lost; release it at the end.

        Raises
        ------
        NotLeaderError
            At the end, if the Lease was lost.
        """
        if self._lease is None:
            self._start()
            yield
            return
        if not await _first(self._lease.acquire(), stop):
            yield
            return
        self._start()
        keeping = asyncio.create_task(self._keep(self._lease, stop), name="lease")
        try:
            yield
        finally:
            lost = keeping.done()
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            await self._lease.release()
            self._report(0)
        if lost:
            raise NotLeaderError("another operator may act now")

    def _start(self) -> None:
        self._acts = True
        self._report(1)

    @staticmethod
    async def _keep(lease: Lease, stop: asyncio.Event) -> None:
        try:
            await lease.keep()
            logger.error("the Lease is lost: stopping")
        except Exception:
            logger.exception("cannot keep the Lease: stopping")
        finally:
            stop.set()


async def _first(work: Coroutine[None, None, None], stop: asyncio.Event) -> bool:
    """Return whether some work ended before ``stop`` was set; cancel it otherwise."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
        return working.done()
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)
