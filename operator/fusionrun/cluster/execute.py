"""Carry out a decision: create, write the status once, delete, tell. Every step may be repeated without harm."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Iterable, Sequence
from datetime import datetime
from typing import TypeVar

from fusionrun.api.models import Manifest
from fusionrun.api.status import FusionRunStatus
from fusionrun.cluster.client import Client
from fusionrun.cluster.store import Store, ref_of
from fusionrun.errors import ClusterError
from fusionrun.names import FIELD_MANAGER, digest_of
from fusionrun.state.decision import Decision, Event
from fusionrun.state.live import ObjectRef

logger = logging.getLogger(__name__)

WORKLOADS = frozenset({"Job", "PyTorchJob", "Deployment"})
"""Kinds whose pods need the other objects: a pod that finds no ConfigMap waits seconds for the kubelet's next try."""

STATUS_MIN_SECONDS = 1.0
"""Least time between two status writes of a run that change nothing but numbers."""

EVENT_MESSAGE_MAX = 1024
"""Source: Kubernetes, validation of core/v1 Event.message."""

T = TypeVar("T")

_NOT_FOUND = 404
_CONFLICT = 409


class Executor:
    """Write to the API server, and put what it answers into the store at once."""

    def __init__(self, client: Client, store: Store) -> None:
        self._client = client
        self._store = store
        self._telling: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()
        self._written: dict[ObjectRef, float] = {}

    def forget(self, run: ObjectRef) -> None:
        """Forget a run that is gone."""
        self._written.pop(run, None)

    async def drain(self) -> None:
        """Wait until every event is posted."""
        await asyncio.gather(*self._telling)

    async def create(self, run: Manifest, manifests: Sequence[Manifest]) -> list[Manifest]:
        """Create what is missing, what pods need before the pods; return the objects that are new.

        Raises
        ------
        ClusterError
            If one could not be created; all others were tried.
        """
        first = [m for m in manifests if m["kind"] not in WORKLOADS]
        then = [m for m in manifests if m["kind"] in WORKLOADS]
        made = [
            *await _all(self._create(run, manifest) for manifest in first),
            *await _all(self._create(run, manifest) for manifest in then),
        ]
        return [manifest for manifest in made if manifest is not None]

    async def settle(self, run: Manifest, decision: Decision, now: datetime) -> None:
        """Write the status once, then delete, then tell.

        Raises
        ------
        ClusterError
            If the status could not be written; nothing was deleted then.
        """
        if decision.status is not None:
            await self._write_status(run, decision.status)
        await _all(self._delete(ref) for ref in decision.delete)
        for event in decision.events:
            # Nobody waits for an event, the next stage least of all; and they go one by one, not to crowd it out.
            task = asyncio.create_task(self._tell_in_turn(run, event, now))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    def seconds_to_wait(self, run: Manifest, decision: Decision) -> float:
        """Return how long a decision may wait that only freshens the status: writes must not delay the next stage."""
        if decision.create or decision.delete or decision.events or decision.status is None:
            return 0.0
        return max(0.0, self._written.get(ref_of(run), 0.0) + STATUS_MIN_SECONDS - time.monotonic())

    async def _tell_in_turn(self, run: Manifest, event: Event, now: datetime) -> None:
        async with self._turn:
            await self.tell(run, event, now)

    async def tell(self, run: Manifest, event: Event, now: datetime) -> None:
        """Post a Kubernetes event on a run, or count one that was posted before; a failure is only logged."""
        metadata, at = run["metadata"], now.strftime("%Y-%m-%dT%H:%M:%SZ")
        level = logging.WARNING if event.type == "Warning" else logging.INFO
        logger.log(level, "%s: %s", event.reason, event.message, extra={"run": _label(run)})
        message = event.message[:EVENT_MESSAGE_MAX]
        ref = ObjectRef(
            "v1",
            "Event",
            metadata["namespace"],
            f"{metadata['name']}.{digest_of(metadata['uid'], event.reason, message, length=16)}",
        )
        manifest = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": ref.name, "namespace": ref.namespace},
            "involvedObject": {
                "apiVersion": run["apiVersion"],
                "kind": run["kind"],
                "namespace": ref.namespace,
                "name": metadata["name"],
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
            },
            "type": event.type,
            "reason": str(event.reason),
            "message": message,
            "source": {"component": FIELD_MANAGER},
            "reportingComponent": FIELD_MANAGER,
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
        }
        try:
            try:
                await self._client.create(manifest)
            except ClusterError as error:
                if error.status != _CONFLICT:
                    raise
                posted = await self._client.get(ref)
                again = {"count": int(posted.get("count") or 1) + 1, "lastTimestamp": at}
                await self._client.patch(ref, again)
        except ClusterError as error:
            logger.warning("event %s not posted: %s", event.reason, error, extra={"run": _label(run)})

    async def _create(self, run: Manifest, manifest: Manifest) -> Manifest | None:
        """Return the object that was made, or None when it was there already and is the run's own."""
        ref, uid = ref_of(manifest), run["metadata"]["uid"]
        known = self._store.get(ref)
        if known is not None and uid in _owners(known) and "deletionTimestamp" not in known["metadata"]:
            return None
        try:
            made = await self._client.create(manifest)
        except ClusterError as error:
            if error.status != _CONFLICT:
                raise
            found = await self._client.get(ref)
            owners = found["metadata"].get("ownerReferences") or []
            ours = uid in _owners(found)
            of_namesake = any((o["kind"], o["name"]) == (run["kind"], run["metadata"]["name"]) for o in owners)
            if "deletionTimestamp" in found["metadata"] or (of_namesake and not ours):
                raise ClusterError("create", ref.kind, ref.name, 0, "its predecessor is still being deleted") from error
            if not ours:
                raise ClusterError("create", ref.kind, ref.name, _CONFLICT, "exists, and is not this run's") from error
            self._store.put(found)
            return None
        self._store.put(made)
        logger.info("created %s %s", ref.kind, ref.name, extra={"run": _label(run)})
        return made

    async def _write_status(self, run: Manifest, status: FusionRunStatus) -> None:
        metadata = run["metadata"]
        manifest = {
            "apiVersion": run["apiVersion"],
            "kind": run["kind"],
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]},
            "status": status.model_dump(mode="json", exclude_none=True),
        }
        self._store.put(await self._client.apply_status(manifest))
        self._written[ref_of(run)] = time.monotonic()

    async def _delete(self, ref: ObjectRef) -> None:
        known = self._store.get(ref)
        try:
            await self._client.delete(ref, known["metadata"]["uid"] if known else None)
        except ClusterError as error:
            # Gone already, or its name belongs to another object by now: either way what was meant is gone.
            if error.status not in (_NOT_FOUND, _CONFLICT):
                raise
        logger.info("deleted %s %s", ref.kind, ref.name)


async def _all(calls: Iterable[Awaitable[T]]) -> list[T]:
    """Await calls side by side, let each of them end, and only then raise the first failure."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]


def _owners(manifest: Manifest) -> set[str]:
    return {owner["uid"] for owner in manifest["metadata"].get("ownerReferences") or []}


def _label(run: Manifest) -> str:
    return f"{run['metadata']['namespace']}/{run['metadata']['name']}"
