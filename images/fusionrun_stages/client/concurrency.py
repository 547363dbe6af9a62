"""The number of requests in flight: fixed, or adapted to the server.

vLLM reports its queue. The limit grows while no sequence waits, shrinks while the number of waiting sequences is more
than a quarter of the running ones, and stays the same in between. A longer queue does not increase the throughput, and
a restart of the server loses it. For other servers the limit follows additive increase, multiplicative decrease: one
more per round of replies, half after a 429 or 503.

Source: vLLM, production metrics (``vllm:num_requests_running`` and ``vllm:num_requests_waiting``); D.-M. Chiu and
R. Jain, "Analysis of the increase and decrease algorithms for congestion avoidance", 1989. The quarter, the eighth and
the second are this project's choice.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

ADAPT_SECONDS = 1.0
"""Interval of the reads of the server's queue, and minimum time between two halvings: one overload rejects many
requests."""
QUEUE_SHARE = 0.25
GROWTH_SHARE = 0.125


@dataclass(frozen=True)
class QueueLength:
    """Sequences in a server, over all its clients."""

    running: float
    waiting: float


class ConcurrencyLimit:
    """A semaphore whose limit moves between 1 and ``maximum``; with ``start >= maximum`` it is fixed."""

    def __init__(self, start: int, maximum: int) -> None:
        self.limit = min(start, maximum)
        self.in_flight = 0
        self._maximum = maximum
        self._fixed = start >= maximum
        self._reports_queue = False
        self._replies = 0
        self._halved = 0.0
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[None]:
        """Wait until fewer requests than the limit are in flight, and count this one."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.in_flight < self.limit)
            self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1
            async with self._changed:
                self._changed.notify()

    async def adapt(self, queue: QueueLength | None) -> None:
        """Adapt the limit to the server's queue; do nothing if the server does not report one."""
        if queue is None:
            return
        self._reports_queue = True
        if queue.waiting == 0:
            if self.in_flight >= self.limit:
                await self._set(self.limit + max(1, int(self.limit * GROWTH_SHARE)))
        elif queue.running and queue.waiting > QUEUE_SHARE * queue.running:
            await self._set(self.limit - max(1, int(self.limit * GROWTH_SHARE)))

    async def on_reply(self) -> None:
        """Count a reply; raise the limit after each round if the server does not report its queue."""
        self._replies += 1
        if not self._reports_queue and self._replies >= self.limit:
            self._replies = 0
            await self._set(self.limit + 1)

    async def on_overload(self) -> None:
        """Halve the limit after a 429 or 503, at most once per ``ADAPT_SECONDS``."""
        now = time.monotonic()
        if now - self._halved >= ADAPT_SECONDS:
            self._halved = now
            self._replies = 0
            await self._set(self.limit // 2)

    async def _set(self, limit: int) -> None:
        if self._fixed:
            return
        async with self._changed:
            before, self.limit = self.limit, max(1, min(self._maximum, limit))
            self._changed.notify(max(0, self.limit - before))
