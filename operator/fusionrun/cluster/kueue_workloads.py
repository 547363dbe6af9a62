"""Kueue's Workloads of objects that wait in a queue, or that Kueue may ignore.

They are not watched, since a cluster may have no Kueue, and may get one at any time. A request reads the Workloads of
all such objects of one run, at most every ``CACHE_SECONDS``.
"""

import logging
import time
from collections.abc import Sequence

from fusionrun.api.contract import Manifest
from fusionrun.cluster.client import Client
from fusionrun.cluster.trim import trim
from fusionrun.errors import ClusterError
from fusionrun.names import LABEL_QUEUE_OWNER
from fusionrun.state.decide.prerequisites import KUEUE_GROUP

logger = logging.getLogger(__name__)

CACHE_SECONDS = 10.0
"""Shortest time between two requests for the Workload of one object."""
FORGET_SECONDS = 600.0
"""Time after which a Workload that nobody has asked for is forgotten. Until then, it replaces a failed request."""
OBJECTS_MAX = 64
"""Maximum number of objects of one run whose Workloads are read: all are named in the URL of one request."""


class KueueWorkloadReader:
    """Reads Workloads and caches them for ``CACHE_SECONDS``."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[str, tuple[float, Manifest | None]] = {}

    async def of(self, objects: Sequence[Manifest]) -> dict[str, Manifest | None]:
        """Return the Workload of each object of a run, by its UID; None for an object that has none.

        Objects whose Workload could never be read are left out, as are all without Kueue.
        """
        now = time.monotonic()
        self._known = {uid: known for uid, known in self._known.items() if now - known[0] < FORGET_SECONDS}
        selected = objects[:OBJECTS_MAX]
        uids = [m["metadata"]["uid"] for m in selected]
        old = [uid for uid in uids if uid not in self._known or now - self._known[uid][0] >= CACHE_SECONDS]
        if old:
            await self._read(selected[0]["metadata"]["namespace"], old, now)
        return {uid: self._known[uid][1] for uid in uids if uid in self._known}

    async def _read(self, namespace: str, uids: Sequence[str], now: float) -> None:
        selector = f"{LABEL_QUEUE_OWNER} in ({','.join(uids)})"
        try:
            found = await self._client.list_served(KUEUE_GROUP, "Workload", namespace, selector)
        except ClusterError as error:
            # Workloads only explain: the run continues without them.
            logger.warning("cannot list the Workloads of Kueue in %s: %s", namespace, error)
            return
        if found is None:
            return
        self._known |= dict.fromkeys(uids, (now, None))
        for workload in sorted(found, key=lambda m: str(m["metadata"].get("creationTimestamp"))):
            uid = workload["metadata"]["labels"][LABEL_QUEUE_OWNER]
            self._known[uid] = now, trim(workload, finished=False)
