"""The latest Warning event of an object whose pods do not run, if only an event has the reason.

Examples are a Job whose pods are rejected (a quota, Pod Security, a LimitRange) and a pod whose volume cannot be
attached. Events are not watched: they are read for a few objects, at most once per minute and object.
"""

import asyncio
import logging
import time
from collections.abc import Sequence

from fusionrun.api.models import Manifest
from fusionrun.cluster.client import Client
from fusionrun.errors import ClusterError

logger = logging.getLogger(__name__)

CACHE_SECONDS = 60.0
"""Shortest time between two requests for the events of one object."""
OBJECTS_MAX = 4
"""Maximum number of objects of one run whose events are read: pending shards usually wait for the same reason."""


class WarningEvents:
    """Reads events and caches them for ``CACHE_SECONDS``."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[str, tuple[float, str]] = {}

    async def of(self, objects: Sequence[Manifest]) -> dict[str, str]:
        """Return reason and message of the latest Warning event of each object that has one, by UID."""
        now = time.monotonic()
        self._known = {uid: known for uid, known in self._known.items() if now - known[0] < CACHE_SECONDS}
        selected = objects[:OBJECTS_MAX]
        texts = await asyncio.gather(*(self._newest(m, now) for m in selected))
        return {m["metadata"]["uid"]: text for m, text in zip(selected, texts, strict=True) if text}

    async def _newest(self, manifest: Manifest, now: float) -> str:
        metadata = manifest["metadata"]
        if known := self._known.get(metadata["uid"]):
            return known[1]
        try:
            text = latest(await self._client.list_warnings(metadata["namespace"], metadata["uid"]))
        except ClusterError as error:
            # Events only explain: the run continues without them.
            logger.warning("cannot list the events of %s: %s", metadata["name"], error)
            text = ""
        self._known[metadata["uid"]] = now, text
        return text


def latest(events: Sequence[Manifest]) -> str:
    """Return reason and message of the latest event; empty without one."""
    event = max(events, key=_event_time, default=None)
    return f"{event.get('reason')}: {event.get('message', '')}" if event else ""


def _event_time(event: Manifest) -> str:
    """Return when an event last occurred, as text that sorts by time, to the second."""
    series = (event.get("series") or {}).get("lastObservedTime")
    at = series or event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp")
    return str(at or "")[:19]
