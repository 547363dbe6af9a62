"""The latest Warning event of an object whose pods do not run, if only an event has the reason.

Examples are a Job whose pods are rejected (a quota, Pod Security, a LimitRange) and a pod whose volume cannot be
attached. Events are not watched. To select the events of one object, the API server reads and decodes all events of the
namespace, thousands if many runs share it: one list serves all objects of a namespace instead.
"""

import logging
from collections.abc import Sequence

from fusionrun.api.contract import Manifest
from fusionrun.cluster.client import Client
from fusionrun.cluster.shared_replies import SharedReplies
from fusionrun.errors import ClusterError

logger = logging.getLogger(__name__)

CACHE_SECONDS = 10.0
"""Shortest time between two lists of the events of one namespace. Shorter than the age of an object whose events are
read (``state.observe.pending_pods.EVENTS_AGE``): what occurred when it was created is in each list."""
PAGE_SIZE = 500
"""Number of events in a page, as in kubectl. The API server keeps events for an hour."""


class WarningEvents:
    """Lists the Warning events of namespaces, and caches them for ``CACHE_SECONDS``."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lists = SharedReplies(self._list, CACHE_SECONDS)

    async def of(self, objects: Sequence[Manifest]) -> dict[str, str]:
        """Return reason and message of the latest Warning event of each object that has one, by UID.

        All objects are of one namespace.
        """
        if not objects:
            return {}
        known = await self._lists.get(objects[0]["metadata"]["namespace"])
        uids = [m["metadata"]["uid"] for m in objects]
        return {uid: known[uid] for uid in uids if uid in known}

    async def _list(self, namespace: str) -> dict[str, str]:
        newest: dict[str, tuple[str, str]] = {}
        try:
            async for page in self._client.pages(
                "v1", "Event", namespace, field_selector="type=Warning", page_size=PAGE_SIZE
            ):
                for event in page.items:
                    uid, at = (event.get("involvedObject") or {}).get("uid", ""), _event_time(event)
                    if uid not in newest or at > newest[uid][0]:
                        newest[uid] = at, f"{event.get('reason')}: {event.get('message', '')}"
        except ClusterError as error:
            # Events only explain: the run continues without them.
            logger.warning("cannot list the events of namespace %s: %s", namespace, error)
        return {uid: text for uid, (_, text) in newest.items()}


def _event_time(event: Manifest) -> str:
    """Return when an event last occurred, as text that sorts by time, to the second."""
    series = (event.get("series") or {}).get("lastObservedTime")
    at = series or event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp")
    return str(at or "")[:19]
