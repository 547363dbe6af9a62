"""When a server of the run that could not be reached replies again: one check per second, however many requests wait.

Such a server holds GPUs, which are idle until the next request. Without a common check, the times between the attempts
of each request would have to be short, and thousands of requests may wait while the server loads its model.
"""

import asyncio
from collections.abc import Awaitable, Callable

CHECK_SECONDS = 1.0


class Reachability:
    """``check`` returns whether the server replies."""

    def __init__(self, check: Callable[[], Awaitable[bool]]) -> None:
        self._check = check
        self._checking: asyncio.Task[None] | None = None

    async def wait(self) -> None:
        """Return when the server replies."""
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._until_it_replies())
        await asyncio.shield(self._checking)

    def close(self) -> None:
        """Stop checking."""
        if self._checking:
            self._checking.cancel()

    async def _until_it_replies(self) -> None:
        while not await self._check():  # noqa: ASYNC110 -- the server sends no event
            await asyncio.sleep(CHECK_SECONDS)
