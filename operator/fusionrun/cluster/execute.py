"""Carry out a decision: create, write the status once, post events, delete. Every step may be repeated without harm."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from fusionrun.api.models import Manifest
from fusionrun.api.status import FusionRunStatus
from fusionrun.cluster.client import Client
from fusionrun.cluster.events import EventPoster
from fusionrun.cluster.store import Store, is_finished, ref_of
from fusionrun.errors import ClusterError
from fusionrun.state.decide.decision import Decision
from fusionrun.state.observe.live_objects import ObjectRef, Refusal
from fusionrun.state.report.conditions import stamp

logger = logging.getLogger(__name__)

WORKLOADS = frozenset({"Job", "PyTorchJob", "Deployment"})
"""Kinds whose pods need the other objects: a pod that finds no ConfigMap waits seconds for the kubelet's next try."""

STATUS_MIN_SECONDS = 1.0
"""Least time between two status writes of a run that change nothing but numbers."""

CLEAN_UP_AT_ONCE = 8
"""Most objects of finished runs deleted at once, so that these deletes delay no stage of another run."""

T = TypeVar("T")

_NOT_FOUND = 404
_CONFLICT = 409


@dataclass(frozen=True)
class Created:
    """What came of a turn of creating."""

    made: list[Manifest]
    """The objects that are new."""
    refused: dict[ObjectRef, Refusal]
    """The objects that the API server did not create, and why: refused, failed, or no reply."""


class Executor:
    """Write to the API server, and put what it answers into the store at once."""

    def __init__(self, client: Client, store: Store, events: EventPoster) -> None:
        self._client = client
        self._store = store
        self._events = events
        self._clean_up = asyncio.Semaphore(CLEAN_UP_AT_ONCE)
        self._written: dict[ObjectRef, float] = {}

    def forget(self, run: ObjectRef) -> None:
        """Forget a run that is gone."""
        self._written.pop(run, None)

    async def create(self, run: Manifest, manifests: Sequence[Manifest]) -> Created:
        """Create what is missing, what pods need before the pods, and no pods where something they need was refused.

        An object that cannot be created never raises: it is in ``Created.refused``, so that the status write and the
        deletes of the same decision go on without it.
        """
        made: list[Manifest] = []
        refused: dict[ObjectRef, Refusal] = {}
        for workloads in (False, True):
            turn = [m for m in manifests if (m["kind"] in WORKLOADS) is workloads]
            for manifest, answer in zip(turn, await _all(self._create(run, m) for m in turn), strict=True):
                if isinstance(answer, Refusal):
                    refused[ref_of(manifest)] = answer
                elif answer is not None:
                    made.append(answer)
            if refused:
                break
        return Created(made, refused)

    async def settle(self, run: Manifest, decision: Decision, now: datetime) -> bool:
        """Write the status once, hand on the events, then delete.

        Returns
        -------
        bool
            Whether an object was gone already, which no watch has reported: the run needs another decision.

        Raises
        ------
        ClusterError
            If the status could not be written; nothing was deleted then.
        """
        if decision.status is not None:
            await self._write_status(run, decision.status)
        for event in decision.events:
            self._events.post(run, event, now)
        return any(await _all(self._delete(run, ref, now) for ref in decision.delete))

    def seconds_to_wait(self, run: Manifest, decision: Decision) -> float:
        """Return how long a decision may wait that only freshens the status: writes must not delay the next stage."""
        if decision.create or decision.delete or decision.events or decision.status is None:
            return 0.0
        return max(0.0, self._written.get(ref_of(run), 0.0) + STATUS_MIN_SECONDS - time.monotonic())

    async def _create(self, run: Manifest, manifest: Manifest) -> Manifest | Refusal | None:
        """Return the object that was made, the API server's refusal, or None when it is there and is the run's own."""
        try:
            return await self._make(run, manifest)
        except ClusterError as error:
            logger.warning("not created: %s", error, extra={"run": _label(run)})
            return Refusal(error.status, str(error), transient=error.retryable)

    async def _make(self, run: Manifest, manifest: Manifest) -> Manifest | None:
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

    async def _delete(self, run: Manifest, ref: ObjectRef, now: datetime) -> bool:
        async with self._clean_up if is_finished(run) else contextlib.nullcontext():
            return await self._delete_now(ref, now)

    async def _delete_now(self, ref: ObjectRef, now: datetime) -> bool:
        """Delete an object; return whether it was gone already, and the watch has not reported that."""
        known = self._store.get(ref)
        if known is None:  # it is gone since the decision; a successor of its name is not to be deleted
            return False
        uid = known["metadata"]["uid"]
        try:
            if ref.kind == "Pod":
                # A Job replaces no pod that has not failed, nor lets it go: force alone would change nothing.
                self._store.put(await self._client.fail_pod(ref, uid, _lost(now)))
                await self._client.delete(ref, uid, grace_seconds=0)
            else:
                await self._client.delete(ref, uid)
        except ClusterError as error:
            if error.status not in (_NOT_FOUND, _CONFLICT):
                raise
            # It is gone, or its name belongs to another object by now. The watch may have missed the deletion.
            return self._store.remove_uid(ref, uid)
        # The next decision may come before the watch reports the deletion, and must not delete again.
        self._store.deleting(ref, uid, stamp(now))
        logger.info("deleted %s %s", ref.kind, ref.name)
        return False


async def _all(calls: Iterable[Awaitable[T]]) -> list[T]:
    """Await calls side by side, let each of them end, and only then raise the first failure."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]


def _lost(now: datetime) -> Manifest:
    """Return the condition by which a Job knows that a pod's end was not the pod's fault.

    Source: Kubernetes, pkg/controller/podgc: what its garbage collector writes before it deletes an orphan by force.
    """
    return {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "DeletionByFusionRun",
        "message": "its node was lost: it was to end, and nobody told that it did",
        "lastTransitionTime": stamp(now),
    }


def _owners(manifest: Manifest) -> set[str]:
    return {owner["uid"] for owner in manifest["metadata"].get("ownerReferences") or []}


def _label(run: Manifest) -> str:
    return f"{run['metadata']['namespace']}/{run['metadata']['name']}"
