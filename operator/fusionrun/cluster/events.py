"""Posting of Kubernetes events in background tasks, so that no stage waits for them."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Iterable
from datetime import datetime

from fusionrun.api.contract import Manifest
from fusionrun.api.status.conditions import Reason
from fusionrun.cluster.client import Client
from fusionrun.errors import ClusterError
from fusionrun.names import FIELD_MANAGER, digest_of
from fusionrun.state.observe.object_fields import format_time
from fusionrun.state.observe.object_ref import ref_of
from fusionrun.state.report.events import Event

logger = logging.getLogger(__name__)

MESSAGE_MAX = 1024
"""Source: Kubernetes, validation of core/v1 Event.message."""

CONCURRENCY = 8
"""Maximum number of concurrent requests: enough for fifty runs, without a delay of other requests."""

JOINED = frozenset({Reason.STAGE_STARTED, Reason.STAGE_SUCCEEDED})
"""Reasons of events of which those of several stages are one event: they name the stages, and several stages start or
succeed within seconds. Each event is a request, and they were a third of all requests of short runs."""
JOIN_SECONDS = 10.0
"""How long such an event waits for others of its reason, unless an event of another reason comes."""

_CONFLICT = 409


class EventPoster:
    """Posts events: those of one run in order, those of several runs concurrently."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self.waiting: dict[str, deque[Manifest]] = {}
        """Events by UID of the run; a run has an entry while a task posts its events."""
        self._due: dict[str, asyncio.Event] = {}
        """Set when the waiting events of a run are to be posted at once."""
        self._tasks: set[asyncio.Task[None]] = set()

    def post(self, run: Manifest, event: Event, now: datetime) -> None:
        """Log an event of a run and post it in the background; a failure is only logged."""
        metadata, uid, message = run["metadata"], run["metadata"]["uid"], event.message[:MESSAGE_MAX]
        level = logging.WARNING if event.type == "Warning" else logging.INFO
        run_name = f"{metadata['namespace']}/{metadata['name']}"
        logger.log(level, "%s: %s", event.reason, event.message, extra={"run": run_name})
        involved = {key: metadata[key] for key in ("namespace", "name", "uid", "resourceVersion")}
        manifest = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"namespace": metadata["namespace"]},
            "involvedObject": {"apiVersion": run["apiVersion"], "kind": run["kind"], **involved},
            "type": event.type,
            "reason": str(event.reason),
            "message": message,
            "source": {"component": FIELD_MANAGER},
            "reportingComponent": FIELD_MANAGER,
            "firstTimestamp": format_time(now),
            "lastTimestamp": format_time(now),
            "count": 1,
        }
        if uid not in self.waiting:
            self.waiting[uid], self._due[uid] = deque(), asyncio.Event()
            task = asyncio.create_task(self._post_all(uid), name=f"events of {run_name}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if event.reason not in JOINED:
            self._due[uid].set()
        if not _joined(self.waiting[uid], manifest):
            self.waiting[uid].append(manifest)

    async def drain(self) -> None:
        """Post every event now, and wait until that is done."""
        for due in self._due.values():
            due.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _post_all(self, uid: str) -> None:
        """Post the events of one run until none waits."""
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._due[uid].wait(), JOIN_SECONDS)
            while waiting := self.waiting[uid]:
                async with self._slots:
                    await self._post(waiting.popleft())
        finally:
            del self.waiting[uid], self._due[uid]

    async def _post(self, manifest: Manifest) -> None:
        """Create a Kubernetes event, or increase the count of an existing one."""
        involved = manifest["involvedObject"]
        digest = digest_of(involved["uid"], manifest["reason"], manifest["message"], length=16)
        manifest["metadata"]["name"] = f"{involved['name']}.{digest}"
        try:
            try:
                await self._client.create(manifest)
            except ClusterError as error:
                if error.status != _CONFLICT:
                    raise
                ref = ref_of(manifest)
                existing = await self._client.get(ref)
                count = int(existing.get("count") or 1) + 1
                await self._client.patch(ref, {"count": count, "lastTimestamp": manifest["lastTimestamp"]})
        except ClusterError as error:
            run = f"{manifest['involvedObject']['namespace']}/{manifest['involvedObject']['name']}"
            logger.warning("cannot post event %s: %s", manifest["reason"], error, extra={"run": run})


def _joined(waiting: Iterable[Manifest], manifest: Manifest) -> bool:
    """Add an event to a waiting one of its reason; return whether that was possible."""
    for earlier in waiting:
        message = f"{earlier['message']}, {manifest['message']}"
        if earlier["reason"] == manifest["reason"] and manifest["reason"] in JOINED and len(message) <= MESSAGE_MAX:
            earlier.update(message=message, lastTimestamp=manifest["lastTimestamp"])
            return True
    return False
