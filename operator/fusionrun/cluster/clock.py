"""The time for decisions: the system clock, without its jumps.

A step of the system clock must not end a run at its deadline, delete objects whose time to live is not over, or count
GPU time that nobody used. A small difference, as NTP corrects it, is followed at once.
"""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

logger = logging.getLogger(__name__)

FOLLOWED = timedelta(seconds=60)
"""Largest difference that is followed at once."""
CONFIRMED_SECONDS = 600.0
"""Time after which a larger difference is followed: then the clock was wrong before, or the machine was suspended."""


def _system_time() -> datetime:
    return datetime.now(UTC)


class Clock:
    """A clock that ignores a jump of the system clock until it has lasted for ``CONFIRMED_SECONDS``."""

    def __init__(
        self, system: Callable[[], datetime] = _system_time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._system = system
        self._monotonic = monotonic
        self._last, self._read_at = system(), monotonic()
        self._differs_since: float | None = None

    def now(self) -> datetime:
        """Return the time."""
        system, at = self._system(), self._monotonic()
        expected = self._last + timedelta(seconds=at - self._read_at)
        jumped = abs(system - expected) > FOLLOWED and not self._is_confirmed(at, system - expected)
        self._last, self._read_at = (expected if jumped else system), at
        if not jumped:
            self._differs_since = None
        return self._last

    def _is_confirmed(self, at: float, difference: timedelta) -> bool:
        if self._differs_since is None:
            self._differs_since = at
            text = "the system clock jumped by %.0f s: ignored for %.0f s"
            logger.warning(text, difference.total_seconds(), CONFIRMED_SECONDS)
        return at - self._differs_since >= CONFIRMED_SECONDS
