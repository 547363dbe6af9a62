"""Posting of Kubernetes events, in background tasks: no stage waits for them."""

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from datetime import datetime

from fusionrun.api.models import Manifest
from fusionrun.cluster.client import Client
from fusionrun.errors import ClusterError
from fusionrun.names import FIELD_MANAGER, digest_of
from fusionrun.state.observe.object_fields import format_time
from fusionrun.state.observe.object_ref import ObjectRef
from fusionrun.state.report.events import Event

logger = logging.getLogger(__name__)

MESSAGE_MAX = 1024
"""Source: Kubernetes, validation of core/v1 Event.message."""

CONCURRENCY = 8
"""Most events posted at the same time: enough for fifty runs, and few enough not to delay other requests."""

_CONFLICT = 409


@dataclass(frozen=True, slots=True)
class _Posting:
    """One event to post."""

    name: str
    event: Event
    at: str
    run: dict[str, str]
    """The event's ``involvedObject``."""


class EventPoster:
    """Posts events: those of one run in order, those of several runs concurrently."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self.waiting: dict[str, deque[_Posting]] = {}
        """Events by UID of the run; a run has an entry while a task posts its events."""
        self._tasks: set[asyncio.Task[None]] = set()

    def post(self, run: Manifest, event: Event, now: datetime) -> None:
        """Log an event of a run and post it in the background; a failure is only logged."""
        metadata = run["metadata"]
        level = logging.WARNING if event.type == "Warning" else logging.INFO
        where = f"{metadata['namespace']}/{metadata['name']}"
        logger.log(level, "%s: %s", event.reason, event.message, extra={"run": where})
        digest = digest_of(metadata["uid"], event.reason, event.message[:MESSAGE_MAX], length=16)
        about = {k: metadata[k] for k in ("namespace", "name", "uid", "resourceVersion")}
        posting = _Posting(
            name=f"{metadata['name']}.{digest}",
            event=event,
            at=format_time(now),
            run={"apiVersion": run["apiVersion"], "kind": run["kind"], **about},
        )
        uid = metadata["uid"]
        if uid in self.waiting:
            self.waiting[uid].append(posting)
            return
        self.waiting[uid] = deque([posting])
        task = asyncio.create_task(self._post_all(uid), name=f"events of {where}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self) -> None:
        """Wait until every event is posted."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _post_all(self, uid: str) -> None:
        """Post the events of one run until none waits."""
        try:
            while waiting := self.waiting[uid]:
                async with self._slots:
                    await self._post(waiting.popleft())
        finally:
            del self.waiting[uid]

    async def _post(self, posting: _Posting) -> None:
        """Create a Kubernetes event, or increase the count of an existing one."""
        event, run = posting.event, posting.run
        manifest = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": posting.name, "namespace": run["namespace"]},
            "involvedObject": run,
            "type": event.type,
            "reason": str(event.reason),
            "message": event.message[:MESSAGE_MAX],
            "source": {"component": FIELD_MANAGER},
            "reportingComponent": FIELD_MANAGER,
            "firstTimestamp": posting.at,
            "lastTimestamp": posting.at,
            "count": 1,
        }
        try:
            try:
                await self._client.create(manifest)
            except ClusterError as error:
                if error.status != _CONFLICT:
                    raise
                ref = ObjectRef("v1", "Event", run["namespace"], posting.name)
                posted = await self._client.get(ref)
                again = {"count": int(posted.get("count") or 1) + 1, "lastTimestamp": posting.at}
                await self._client.patch(ref, again)
        except ClusterError as error:
            where = f"{run['namespace']}/{run['name']}"
            logger.warning("cannot post event %s: %s", event.reason, error, extra={"run": where})
