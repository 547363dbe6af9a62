"""Execution of a decision: create, write the status, post events, delete. Every step is idempotent."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from fusionrun.api.contract import Manifest
from fusionrun.api.status.conditions import Reason
from fusionrun.api.status.run import FusionRunStatus
from fusionrun.cluster.client import Client
from fusionrun.cluster.events import EventPoster
from fusionrun.cluster.store import Store
from fusionrun.errors import ClusterError
from fusionrun.names import LABEL_ATTEMPT, LABEL_RUN, LABEL_STAGE
from fusionrun.state.decide.decision import Decision
from fusionrun.state.observe.live_objects import Refusal
from fusionrun.state.observe.object_fields import WORKLOADS, format_time, is_deleting, is_finished
from fusionrun.state.observe.object_ref import ObjectRef, owners, ref_of
from fusionrun.state.report.events import Event
from fusionrun.state.report.summary import only_details, only_numbers

logger = logging.getLogger(__name__)

STATUS_MIN_SECONDS = 1.0
"""Shortest time between two status writes of a run if only the status changes."""

DETAILS_SECONDS = 5.0
"""The same if only reasons and messages of stages change: the pods of a short stage are pending, run and end within
seconds, and one write then reports all of it."""

NUMBERS_SECONDS = 30.0
"""Shortest time between two status writes of a run if only numbers change, such as progress and GPU time: etcd stores
each of them, and every watch of the run gets it."""

CLEAN_UP_AT_ONCE = 8
"""Maximum number of objects of finished runs that are deleted at the same time, so that other runs do not wait."""

WEBHOOK_DELAYS = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds between attempts to create a TrainJob while the webhook of Trainer (it reads a cache) lacks its runtime."""

T = TypeVar("T")

_FORBIDDEN = 403
_NOT_FOUND = 404
_CONFLICT = 409


@dataclass(frozen=True)
class Created:
    """The new objects, and why the API server did not create the others."""

    made: list[Manifest]
    refused: dict[ObjectRef, Refusal]


class Executor:
    """Writes to the API server and stores its replies at once."""

    def __init__(self, client: Client, store: Store, events: EventPoster) -> None:
        self._client = client
        self._store = store
        self._events = events
        self._clean_up = asyncio.Semaphore(CLEAN_UP_AT_ONCE)
        self._written: dict[ObjectRef, float] = {}

    def report_error(self, run: ObjectRef, error: Exception) -> None:
        """Post an event about a reconcile that failed."""
        if manifest := self._store.get(run):
            text = f"cannot reconcile the run, retrying: {type(error).__name__}: {error}"
            self._events.post(manifest, Event("Warning", Reason.INFRASTRUCTURE_ERROR, text), datetime.now(UTC))

    def forget(self, run: ObjectRef) -> None:
        """Forget a deleted run."""
        self._written.pop(run, None)

    async def create(self, run: Manifest, manifests: Sequence[Manifest]) -> Created:
        """Create the missing objects: workloads last, and not if an object that their pods need was refused.

        A pod that does not find its ConfigMap waits seconds for the kubelet's next attempt. An object that cannot be
        created raises no error: it is in ``Created.refused``, and the rest of the decision is carried out without it.
        """
        made: list[Manifest] = []
        refused: dict[ObjectRef, Refusal] = {}
        for workloads in (False, True):
            group = [m for m in manifests if (m["kind"] in WORKLOADS) is workloads]
            for manifest, result in zip(group, await _all(self._create(run, m) for m in group), strict=True):
                if isinstance(result, Refusal):
                    refused[ref_of(manifest)] = result
                elif result is not None:
                    made.append(result)
            if refused:
                break
        return Created(made, refused)

    async def settle(self, run: Manifest, decision: Decision, now: datetime) -> bool:
        """Write the status, post the events, then delete.

        Returns
        -------
        bool
            Whether the run needs another decision: it has changed since this one, and only its objects were created;
            or an object was already gone, and no watch had reported it.

        Raises
        ------
        ClusterError
            If the status could not be written. Nothing was deleted.
        """
        if decision.status is not None and not await self._write_status(run, decision.status):
            return True
        for event in decision.events:
            self._events.post(run, event, now)
        return any(await _all(self._delete(run, ref, now) for ref in decision.delete))

    def seconds_to_wait(self, run: Manifest, before: FusionRunStatus, decision: Decision) -> float:
        """Return how long a decision that only updates the status, from ``before``, should wait."""
        if decision.create or decision.delete or decision.events or decision.status is None or decision.only_records:
            return 0.0
        least = STATUS_MIN_SECONDS
        if only_details(before, decision.status):
            least = NUMBERS_SECONDS if only_numbers(before, decision.status) else DETAILS_SECONDS
        left = max(0.0, self._written.get(ref_of(run), float("-inf")) + least - time.monotonic())
        return left if decision.requeue_seconds is None else min(left, decision.requeue_seconds)

    async def _create(self, run: Manifest, manifest: Manifest) -> Manifest | Refusal | None:
        """Return the created object, the refusal, or None if the run already has the object."""
        ref, log = ref_of(manifest), {"run": f"{run['metadata']['namespace']}/{run['metadata']['name']}"}
        known = self._store.get(ref)
        # Somebody else may have created a ConfigMap of this name: its data decide, and the store may lack them.
        whole = manifest["kind"] != "ConfigMap"
        own = known is not None and run["metadata"]["uid"] in owners(known) and not is_deleting(known)
        if whole and known is not None and own and not _without_label(manifest, known):
            return None
        try:
            try:
                created = await self._post(manifest)
            except ClusterError as error:
                if error.status != _CONFLICT:
                    raise
                if ref.kind == "Secret":  # it cannot be read. Its name contains a hash of the run's UID
                    return None
                existing = await self._adopt(run, ref)
                if text := _without_label(manifest, existing):
                    raise ClusterError("create", ref.kind, ref.name, _CONFLICT, text) from None
                if whole or existing.get("data") == manifest["data"]:
                    return None
                await self._client.delete(ref, existing["metadata"]["uid"])
                logger.warning("replacing ConfigMap %s, which has other data", ref.name, extra=log)
                created = await self._client.create(manifest)
        except ClusterError as error:
            logger.warning("cannot create object: %s", error, extra=log)
            return Refusal(error.status, str(error), transient=error.retryable)
        logger.info("created %s %s", ref.kind, ref.name, extra=log)
        if ref.kind == "Secret":  # not watched: the store would keep its content forever
            return {"kind": ref.kind, "metadata": {"name": ref.name}}
        self._store.put(created)
        return created

    async def _post(self, manifest: Manifest) -> Manifest:
        for delay in WEBHOOK_DELAYS if manifest["kind"] == "TrainJob" else ():
            try:
                return await self._client.create(manifest)
            except ClusterError as error:
                if error.status != _FORBIDDEN or "TrainingRuntime" not in str(error):
                    raise
            await asyncio.sleep(delay)
        return await self._client.create(manifest)

    async def _adopt(self, run: Manifest, ref: ObjectRef) -> Manifest:
        """Store the existing object of a name; raise a ClusterError if it does not belong to the run."""
        existing = await self._client.get(ref)
        references = existing["metadata"].get("ownerReferences") or []
        of_this_run = run["metadata"]["uid"] in owners(existing)
        same_name = any((o["kind"], o["name"]) == (run["kind"], run["metadata"]["name"]) for o in references)
        if is_deleting(existing) or (same_name and not of_this_run):
            raise ClusterError("create", ref.kind, ref.name, 0, "an object of this name is still being deleted")
        if not of_this_run:
            text = "an object of this name exists and belongs to another owner: delete that object"
            raise ClusterError("create", ref.kind, ref.name, _CONFLICT, text)
        self._store.put(existing)
        return existing

    async def _write_status(self, run: Manifest, status: FusionRunStatus) -> bool:
        """Write the status, unless the run has changed since the decision; return whether it was written.

        An operator that was paused and does not know yet that another one acts now can thus not overwrite its status.
        """
        metadata = run["metadata"]
        identity = {key: metadata[key] for key in ("name", "namespace", "uid", "resourceVersion") if key in metadata}
        manifest = {
            "apiVersion": run["apiVersion"],
            "kind": run["kind"],
            "metadata": identity,
            "status": status.model_dump(mode="json", exclude_none=True),
        }
        try:
            self._store.put(await self._client.apply_status(manifest))
        except ClusterError as error:
            if error.status != _CONFLICT:
                raise
            self._store.put(await self._client.get(ref_of(run)))
            return False
        self._written[ref_of(run)] = time.monotonic()
        return True

    async def _delete(self, run: Manifest, ref: ObjectRef, now: datetime) -> bool:
        """Delete an object; return whether it was already gone and the watch has not reported it."""
        async with self._clean_up if is_finished(run) else contextlib.nullcontext():
            known = self._store.get(ref)
            if known is None:  # deleted since the decision; a new object of the same name must stay
                return False
            uid = known["metadata"]["uid"]
            try:
                if ref.kind == "Pod":
                    # A Job neither replaces a pod that has not failed nor removes its finalizer: mark it failed first.
                    self._store.put(await self._client.fail_pod(ref, uid, _lost(now)))
                await self._client.delete(ref, uid, grace_seconds=0 if ref.kind == "Pod" else None)
            except ClusterError as error:
                if error.status not in (_NOT_FOUND, _CONFLICT):
                    raise
                # The object is gone, or another object has its name. The watch may have missed the deletion.
                return self._store.remove_uid(ref, uid)
            # The next decision may precede the watch event of the deletion, and must not delete again.
            self._store.deleting(ref, uid, format_time(now))
            logger.info("deleted %s %s", ref.kind, ref.name)
            return False


def _without_label(manifest: Manifest, existing: Manifest) -> str:
    """Return what to do about an existing workload that the operator does not find by its labels; empty if it does."""
    kind, name = manifest["kind"], manifest["metadata"]["name"]
    labels, wanted = existing["metadata"].get("labels") or {}, manifest["metadata"]["labels"]
    for key in (LABEL_RUN, LABEL_STAGE, LABEL_ATTEMPT):
        if kind in WORKLOADS and key in wanted and labels.get(key) != wanted[key]:
            command = f"kubectl label --overwrite {kind} {name} {key}={wanted[key]}"
            return f"the label {key} of the object was changed or removed: restore it: {command}"
    return ""


async def _all(calls: Iterable[Awaitable[T]]) -> list[T]:
    """Run calls concurrently, wait for all of them, then raise the first failure."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]


def _lost(now: datetime) -> Manifest:
    """Return the condition with which the Job treats its pod as disrupted.

    Source: Kubernetes, pkg/controller/podgc, which writes it before it force-deletes an orphaned pod.
    """
    return {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "DeletionByFusionRun",
        "message": "node lost: the kubelet did not confirm that the deleted pod has ended",
        "lastTransitionTime": format_time(now),
    }
