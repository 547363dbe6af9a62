"""Detection of a stalled server, which accepts requests and does not reply."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from fusionrun_stages.errors import InfrastructureError, ServerStalledError

RATE_LIMITED_STALLS = 6
"""Multiple of ``stallSeconds`` after which the stage fails if the server rejects every request with 429. By default one
hour: longer than a limit per minute, shorter than a limit per day."""


@dataclass
class Heartbeat:
    """Times of the server's last activity."""

    last: float = field(default_factory=time.monotonic)
    last_success: float = field(default_factory=time.monotonic)
    """Time of the last successful reply; before the first one, the start."""
    rate_limited: int = 0
    """429 replies since the last success."""
    successes: int = 0

    def on_success(self) -> None:
        """Record a successful reply."""
        self.successes += 1
        self.rate_limited = 0
        self.last_success = time.monotonic()
        self.beat()

    def beat(self, ahead_seconds: float = 0.0) -> None:
        """Record activity of the server, or that its Retry-After is ``ahead_seconds``."""
        self.last = max(self.last, time.monotonic() + ahead_seconds)

    @property
    def silent_seconds(self) -> float:
        """Seconds since the last activity."""
        return time.monotonic() - self.last


async def watch_for_stall(
    heartbeat: Heartbeat, stall_seconds: float, missing: str, count: Callable[[], Awaitable[float | None]] | None = None
) -> None:
    """Run until cancelled; raise ServerStalledError after ``stall_seconds`` without activity.

    The messages start with ``missing``. A server that generates long responses does not reply, so ``count`` reads its
    token counter first. Several servers may share one address, and each read may reach another one: only a new value
    shows activity.

    Raise InfrastructureError if the server rejects all requests with 429 for ``RATE_LIMITED_STALLS`` times
    ``stall_seconds``.
    """
    values = {await count()} if count else set[float | None]()
    while True:
        await asyncio.sleep(min(15.0, stall_seconds / 4))
        since_success = time.monotonic() - heartbeat.last_success
        if heartbeat.rate_limited and since_success > RATE_LIMITED_STALLS * stall_seconds:
            raise InfrastructureError(
                f"{missing} for {since_success:.0f} s: the server rejected {heartbeat.rate_limited} requests with 429 "
                "(rate limit); the results so far are stored, and a retry resumes"
            )
        if heartbeat.silent_seconds < stall_seconds / 2:
            continue
        value = await count() if count else None
        if value is not None and value not in values:
            values.add(value)
            heartbeat.beat()
        elif heartbeat.silent_seconds > stall_seconds:
            raise ServerStalledError(f"server stalled: {missing} for {heartbeat.silent_seconds:.0f} s")
