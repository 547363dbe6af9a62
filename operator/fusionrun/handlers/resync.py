"""Resync: list all objects at start and every ten minutes, and reconcile every unfinished run.

A resync finds changes that the watches missed, such as deletions while the API server was unavailable. A watch that
restarts with a list may have missed deletions, so a resync follows within seconds.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

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
UNREACHABLE_SECONDS = 1800.0
"""Time without a reply of the API server after which the operator is restarted, which may renew its connection."""

_FORBIDDEN = 403


@dataclass
class Resync:
    """Lists all objects and reconciles runs, periodically."""

    list_namespace: Callable[[str], Awaitable[set[ObjectRef]]]
    """Updates the store from one of ``namespaces``; returns the runs whose objects changed."""
    namespaces: Sequence[str]
    """The watched namespaces; one empty name for all."""
    store: Store
    queue: WorkQueue
    interval_seconds: float
    listed: Callable[[str, bool], None] = lambda _namespace, _ok: None
    """Called with every namespace that was listed, and with every one that the API server forbids to list."""
    forbidden: dict[str, str] = field(default_factory=dict)
    """Namespaces that the API server forbids to list, with its message. Their runs are not reconciled."""
    _ready: set[str] = field(default_factory=set)
    _first_lists: dict[str, asyncio.Event] = field(default_factory=dict)
    _last_start: float = field(default_factory=time.monotonic)
    _last_reply: float = field(default_factory=time.monotonic)
    _last_success: float = float("-inf")
    _first_end: float = float("inf")
    _requested: asyncio.Event = field(default_factory=asyncio.Event)

    def is_ready(self, namespace: str) -> bool:
        """Return whether the store has been complete for a namespace; no run in it is reconciled before that."""
        return bool(self._ready & {"", namespace})

    async def listed_once(self, namespace: str) -> None:
        """Wait until the store has been complete for one of ``namespaces``."""
        await self._first_lists.setdefault(namespace, asyncio.Event()).wait()

    async def run(self) -> None:
        """Resync until cancelled; a failure is logged and retried. Forbidden namespaces are tried again sooner."""
        due = float("-inf")
        while True:
            now = self._last_start = time.monotonic()
            is_full = now >= due
            try:
                await self.once(self.namespaces if is_full else tuple(self.forbidden))
            except ClusterError as error:
                logger.warning("resync failed: %s", error)
                await asyncio.sleep(self._retry_seconds() if self._ready else RETRY_SECONDS)
            except Exception:
                logger.exception("resync failed")
                await asyncio.sleep(self._retry_seconds())
            else:
                due = now + self.interval_seconds if is_full else due
                left = max(0.0, due - time.monotonic())
                if await self._requested_within(min(left, self._retry_seconds()) if self.forbidden else left):
                    due = float("-inf")

    def soon(self) -> None:
        """Resync within seconds: a watch has restarted and does not report the objects that were deleted before."""
        if time.monotonic() - self._first_end > START_SECONDS:
            self._requested.set()

    def _retry_seconds(self) -> float:
        return min(self.interval_seconds, RETRY_MAX_SECONDS)

    async def _requested_within(self, seconds: float) -> bool:
        """Wait, or until a resync is requested; return whether one was."""
        requested = False
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._requested.wait(), seconds)
            requested = True
            await asyncio.sleep(min(SOON_SECONDS, self.interval_seconds))
        self._requested.clear()
        return requested

    async def once(self, namespaces: Sequence[str] | None = None) -> None:
        """List the objects of namespaces, by default all; reconcile unfinished runs and runs whose objects changed.

        The first resync also reconciles finished runs, to schedule the deletion of their objects. A namespace that the
        API server forbids to list, because it or its Role was deleted, does not delay the others.
        """
        for namespace in self.namespaces if namespaces is None else namespaces:
            try:
                changed = await self.list_namespace(namespace)
            except ClusterError as error:
                if error.status != _FORBIDDEN:
                    raise
                self._forbid(namespace, error)
            else:
                self._done(namespace, changed)

    def _forbid(self, namespace: str, error: ClusterError) -> None:
        self._last_reply = time.monotonic()
        self.forbidden[namespace] = str(error)
        self._ready.discard(namespace)
        self.listed(namespace, False)  # noqa: FBT003 -- positional in Callable
        place = f"namespace {namespace}" if namespace else "the cluster"
        advice = "check that it exists and that the operator has its Role; its runs are not reconciled"
        logger.warning("cannot list the objects of %s: %s: %s", place, error, advice)

    def _done(self, namespace: str, changed: set[ObjectRef]) -> None:
        self._last_reply = self._last_success = time.monotonic()
        self.forbidden.pop(namespace, None)
        self.listed(namespace, True)  # noqa: FBT003
        first = namespace not in self._ready
        self._ready.add(namespace)
        self._first_lists.setdefault(namespace, asyncio.Event()).set()
        runs = [run for run in self.store.runs() if namespace in ("", run["metadata"]["namespace"])]
        if first:
            self._first_end = min(self._first_end, time.monotonic())
            logger.info("watching %d runs in %s", len(runs), namespace or "all namespaces")
        elif changed:
            logger.info("resync found changes of %d runs that no watch had reported", len(changed))
        for run in {*changed, *(ref_of(run) for run in runs if first or not is_finished(run))}:
            self.queue.add(run)

    def check_alive(self) -> float:
        """Return the seconds since the last resync began, for the liveness probe.

        If the event loop hangs, the probe gets no reply. This check detects a resync that hangs alone. A namespace that
        must not be listed is no reason to restart the operator.

        Raises
        ------
        TimeoutError
            If they exceed the interval plus ``LIST_MAX_SECONDS``, or if the API server has not replied to a resync for
            ``UNREACHABLE_SECONDS`` more than the interval.
        """
        now = time.monotonic()
        age = now - self._last_start
        if age > self.interval_seconds + LIST_MAX_SECONDS:
            raise TimeoutError(f"no resync for {age:.0f} s")
        if now - self._last_reply > self.interval_seconds + UNREACHABLE_SECONDS:
            raise TimeoutError(f"no reply of the API server to a resync for {now - self._last_reply:.0f} s")
        return age

    def check_ready(self) -> None:
        """Check that the objects of at least one namespace are known, for the readiness probe.

        Raises
        ------
        TimeoutError
            If none was listed within the interval plus ``LIST_MAX_SECONDS``; the message has the reasons.
        """
        if time.monotonic() - self._last_success > self.interval_seconds + LIST_MAX_SECONDS:
            raise TimeoutError("; ".join(["no list of all objects has succeeded", *self.forbidden.values()]))
