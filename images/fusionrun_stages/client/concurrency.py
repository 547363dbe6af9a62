"""How many requests are under way at once: fixed, or as many as the server has use for.

A server that tells its queue (vLLM) is kept just full: more slots while nothing waits there, fewer while more waits
than a quarter of what runs, none changed in between. A longer queue gains nothing, and what waits is lost to other
clients and to a restart. A server that tells nothing is found out by additive increase and multiplicative decrease: one
slot more per round of answers, half of them after a refusal (429 or 503).

Source: vLLM, production metrics (``vllm:num_requests_running`` and ``vllm:num_requests_waiting``); D.-M. Chiu and
R. Jain, "Analysis of the increase and decrease algorithms for congestion avoidance", 1989. The quarter, the eighth and
the second are ours.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

ADAPT_SECONDS = 1.0
"""Time between two looks at the server's queue, and least time between two halvings: one overload refuses many."""
QUEUE_SHARE = 0.25
GROWTH_SHARE = 0.125


@dataclass(frozen=True)
class Queue:
    """What a server says of itself: sequences, of all its clients together."""

    running: float
    waiting: float


class Slots:
    """Slots for requests; the limit moves between 1 and ``most``, and stays where it starts when both are the same."""

    def __init__(self, start: int, most: int) -> None:
        self.limit = min(start, most)
        self.busy = 0
        self._most = most
        self._fixed = start >= most
        self._told = False
        self._answers = 0
        self._halved = 0.0
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Hold a slot, as soon as there is one."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.busy < self.limit)
            self.busy += 1
        try:
            yield
        finally:
            self.busy -= 1
            async with self._changed:
                self._changed.notify()

    async def see(self, queue: Queue | None) -> None:
        """Adapt to the server's queue; None where it tells none."""
        if queue is None:
            return
        self._told = True
        if queue.waiting == 0:
            if self.busy >= self.limit:
                await self._set(self.limit + max(1, int(self.limit * GROWTH_SHARE)))
        elif queue.running and queue.waiting > QUEUE_SHARE * queue.running:
            await self._set(self.limit - max(1, int(self.limit * GROWTH_SHARE)))

    async def answered(self) -> None:
        """Count an answer of a server that tells no queue."""
        self._answers += 1
        if not self._told and self._answers >= self.limit:
            self._answers = 0
            await self._set(self.limit + 1)

    async def refused(self) -> None:
        """Note that the server had too much to do."""
        now = time.monotonic()
        if now - self._halved >= ADAPT_SECONDS:
            self._halved = now
            self._answers = 0
            await self._set(self.limit // 2)

    async def _set(self, limit: int) -> None:
        if self._fixed:
            return
        async with self._changed:
            before, self.limit = self.limit, max(1, min(self._most, limit))
            self._changed.notify(max(0, self.limit - before))
