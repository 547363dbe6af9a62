"""Replies of the API server that callers share: those who ask at the same time, and those who ask soon after."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SharedReplies(Generic[K, V]):
    """The replies to requests by key. A reply is kept for ``seconds`` after its request was sent, an error not at all.

    A hundred runs that start together, or wait for the same reason, then cause one request instead of a hundred.
    """

    def __init__(self, request: Callable[[K], Coroutine[Any, Any, V]], seconds: float) -> None:
        self._request = request
        self._seconds = seconds
        self._sent: dict[K, tuple[float, asyncio.Task[V]]] = {}

    async def get(self, key: K) -> V:
        """Return the reply for a key.

        Raises
        ------
        Exception
            Any error of the request, for everybody who waits for it.
        """
        now = time.monotonic()
        self._sent = {k: (at, task) for k, (at, task) in self._sent.items() if self._is_usable(at, task, now)}
        if key not in self._sent:
            self._sent[key] = now, asyncio.create_task(self._request(key))
        return await asyncio.shield(self._sent[key][1])  # the others still wait if this caller is cancelled

    def _is_usable(self, at: float, task: asyncio.Task[V], now: float) -> bool:
        if not task.done():
            return True
        return not task.cancelled() and task.exception() is None and now - at < self._seconds
