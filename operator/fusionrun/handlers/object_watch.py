"""The watches of the kinds that every cluster serves: each object is trimmed and stored as soon as it is received.

kopf watches the other kinds, because it notices when a CRD is installed. It would queue the whole object of each event
and start a task per object, which costs more than storing it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fusionrun.api.contract import Manifest
from fusionrun.cluster.client import Client
from fusionrun.cluster.store import Store
from fusionrun.errors import ClusterError

logger = logging.getLogger(__name__)

RECONNECT_SECONDS = 0.2
"""Time until a watch that the API server has ended goes on."""
BACKOFF_FIRST_SECONDS = 0.25
BACKOFF_MAX_SECONDS = 30.0
"""Time between two attempts while the API server does not reply, or forbids the watch."""
EVENTS_PER_TURN = 16
"""Events that have arrived together and are handled before other tasks run. Each takes about 0.3 ms, and a reconcile as
long as ten: with one event per turn, a watch would be seconds behind when many runs are reconciled."""

_EXPIRED = 410


@dataclass(frozen=True)
class ObjectWatch:
    """The watch of one kind in one namespace, empty for all namespaces."""

    client: Client
    store: Store
    api_version: str
    kind: str
    namespace: str
    label_selector: str | None
    changed: Callable[[str, Manifest], None]
    """Called with the type and the object of each event."""
    restarted: Callable[[], None]
    """Called if events may have been missed: the objects that exist follow, those that were deleted do not."""

    async def run(self, listed: Callable[[], Awaitable[None]]) -> None:
        """Watch until cancelled, from the list that ``listed`` waits for."""
        await listed()
        version = self.store.listed_at(self.api_version, self.kind, self.namespace)
        failures = handled = 0
        while True:
            try:
                events = self.client.watch(self.api_version, self.kind, self.namespace, self.label_selector, version)
                async for change, manifest in events:
                    failures = 0
                    version = manifest["metadata"].get("resourceVersion") or version
                    if change != "BOOKMARK":
                        self._handle(change, manifest)
                    handled += 1
                    if handled % EVENTS_PER_TURN == 0:
                        await asyncio.sleep(0)
                await asyncio.sleep(RECONNECT_SECONDS)
            except Exception as error:  # noqa: BLE001 -- the watch of one kind must not stop those of the others
                if isinstance(error, ClusterError) and error.status == _EXPIRED:
                    version = ""
                    self.restarted()
                log = logger.warning if failures else logger.debug  # connections end now and then
                if not isinstance(error, ClusterError):
                    log = logger.exception
                log("the watch of %s in %s starts again: %s", self.kind, self.namespace or "all namespaces", error)
                await asyncio.sleep(min(BACKOFF_MAX_SECONDS, BACKOFF_FIRST_SECONDS * 2 ** min(failures, 10)))
                failures += 1

    def _handle(self, change: str, manifest: Manifest) -> None:
        try:
            self.changed(change, manifest)
        except Exception:  # an object that somebody else has made must not stop the watch of the others
            logger.exception("cannot handle the event %s of %s %s", change, self.kind, manifest["metadata"].get("name"))
