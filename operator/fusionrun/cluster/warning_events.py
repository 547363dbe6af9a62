"""The newest Warning event of an object whose pods do not run, where nothing but an event says why.

A Job whose pods are refused (a quota, Pod Security, LimitRange) and a pod whose volume cannot be attached have it in
events alone. Events are not watched: a few objects are asked about, each once a minute.
"""

import asyncio
import logging
import time
from collections.abc import Sequence

from fusionrun.api.models import Manifest
from fusionrun.cluster.client import Client
from fusionrun.errors import ClusterError

logger = logging.getLogger(__name__)

ASK_SECONDS = 60.0
"""Least time between two questions about one object."""
OBJECTS_MAX = 4
"""Most objects of one run that are asked about: shards that wait mostly wait for the same."""


class Warnings:
    """Asks for events, and remembers the answers for ``ASK_SECONDS``."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[str, tuple[float, str]] = {}

    async def of(self, objects: Sequence[Manifest]) -> dict[str, str]:
        """Return reason and message of the newest Warning event of each object that has one, by its UID."""
        now = time.monotonic()
        self._known = {uid: known for uid, known in self._known.items() if now - known[0] < ASK_SECONDS}
        asked = objects[:OBJECTS_MAX]
        texts = await asyncio.gather(*(self._newest(m, now) for m in asked))
        return {m["metadata"]["uid"]: text for m, text in zip(asked, texts, strict=True) if text}

    async def _newest(self, manifest: Manifest, now: float) -> str:
        metadata = manifest["metadata"]
        if known := self._known.get(metadata["uid"]):
            return known[1]
        try:
            text = await self._client.newest_warning(metadata["namespace"], metadata["uid"])
        except ClusterError as error:
            # It only explains: a run goes on without it.
            logger.warning("no events of %s: %s", metadata["name"], error)
            text = ""
        self._known[metadata["uid"]] = now, text
        return text
