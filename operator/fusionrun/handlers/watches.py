"""Watches: every event updates the store and, if the object changed, adds its run to the work queue.

Of kopf, only ``on.event`` is used: its other handlers add finalizers or annotations to objects.
"""

import asyncio
import functools
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import kopf

from fusionrun.api.contract import Manifest
from fusionrun.api.stage import CLIENTS
from fusionrun.cluster.client import Client
from fusionrun.cluster.gather import CHILDREN, FROM_CRDS, Gatherer
from fusionrun.cluster.resources import RESOURCES
from fusionrun.cluster.store import Store
from fusionrun.handlers.object_watch import ObjectWatch
from fusionrun.handlers.resync import Resync
from fusionrun.handlers.work_queue import WorkQueue
from fusionrun.metrics import Metrics
from fusionrun.names import API_VERSION, KIND, LABEL_COMPONENT, LABEL_RUN
from fusionrun.state.observe.gpu_pods import has_devices
from fusionrun.state.observe.object_fields import (
    JOBS,
    completed_at,
    completions,
    has_ended,
    is_deleting,
    parse_time,
    pod_phase,
)
from fusionrun.state.observe.object_ref import ObjectRef, ref_of, run_of

_CLAIM = ("v1", "PersistentVolumeClaim")
_RUN = (API_VERSION, KIND)

UNHURRIED_SECONDS = 1.0
"""Time until a run is reconciled because of a change that only the status shows (``Watches.only_shows``).

A pod or a Job has several such changes within a second. Not shorter than ``cluster.execute.STATUS_MIN_SECONDS``: the
status of a run could not be written yet, and another reconcile would have to follow.
"""


@dataclass(frozen=True)
class Watches:
    """Handlers of the watch events of runs, their objects, and claims."""

    store: Store
    gatherer: Gatherer
    queue: WorkQueue
    metrics: Metrics
    resync: Resync
    forget: Callable[[ObjectRef], None]
    """Called with every deleted run."""

    def register(self, registry: kopf.OperatorRegistry, settings: kopf.OperatorSettings) -> None:
        """Let kopf watch the kinds of objects that not every cluster serves, by label."""
        for api_version, kind in FROM_CRDS:
            group, _, version = api_version.rpartition("/")
            plural, _namespaced = RESOURCES[api_version, kind]
            kopf.on.event(group, version, plural, id="child", registry=registry)(self.on_event)
            settings.watching.label_selectors[group, version, plural] = LABEL_RUN

    async def run(self, client: Client, namespaces: Iterable[str]) -> None:
        """Watch runs, claims and the other kinds of objects in some namespaces, empty for all, until cancelled."""
        children = [kind for kind in CHILDREN if kind not in FROM_CRDS]
        async with asyncio.TaskGroup() as tasks:
            for namespace in namespaces:
                listed = functools.partial(self.resync.listed_once, namespace)
                for api_version, kind in (_RUN, *children, _CLAIM):
                    is_claim = (api_version, kind) == _CLAIM
                    watch = ObjectWatch(
                        client,
                        self.store,
                        api_version,
                        kind,
                        namespace,
                        label_selector=LABEL_RUN if (api_version, kind) in children else None,
                        changed=self.claim_changed if is_claim else self.object_changed,
                        restarted=self.resync.soon,
                    )
                    tasks.create_task(watch.run(listed), name=f"watch of {kind} in {namespace or 'all namespaces'}")

    async def on_event(self, event: dict[str, Any], **_: Any) -> None:
        """Handle an event of kopf."""
        if event["type"] is None:  # the watch has started with a list, which does not show what was deleted before
            self.resync.soon()
        self.object_changed(event["type"] or "ADDED", event["object"])

    def object_changed(self, change: str, manifest: Manifest) -> None:
        """Store a run or one of its objects; reconcile the run if the object changed."""
        self.metrics.watch_last_event.labels(manifest["kind"]).set_to_current_time()
        ref, run = ref_of(manifest), run_of(manifest)
        if change == "DELETED":
            changed = self.store.remove(ref, manifest["metadata"].get("resourceVersion") or "")
            if ref.kind == KIND:
                # A late event of a deleted run must not remove a new run of the same name.
                current = self.store.get(ref)
                if current is None or current["metadata"]["uid"] == manifest["metadata"]["uid"]:
                    self.queue.forget(ref)
                    self.forget(ref)
                return
        else:
            changed = self.store.put(manifest)
        if changed and run is not None and self.resync.is_ready(run.namespace):
            if self.only_shows(change, manifest):
                self.queue.add_after(run, UNHURRIED_SECONDS)
                return
            late = 0.0 if change == "DELETED" else seconds_late(manifest, time.time())
            self.queue.add(run, watched_at=time.monotonic() - late)

    def only_shows(self, change: str, manifest: Manifest) -> bool:
        """Return whether no stage waits for a change of an object, which only the status shows.

        The object starts or runs. Or it is a pod without devices that has succeeded before its Job has ended, of a Job
        with more pods: the last of them ends the stage a second later. Or it is a pod that is gone and was the pod of
        a server: a server is deleted when the last pod of its client has succeeded. Or it is a Job with one pod that
        is complete: its pod has ended the stage.
        """
        kind = manifest["kind"]
        if change == "DELETED" or is_deleting(manifest):
            return change == "DELETED" and kind == "Pod" and not (has_devices(manifest) or self._jobs_of(manifest))
        if kind == "Deployment":
            return not (manifest.get("status") or {}).get("readyReplicas")
        if kind != "Pod":
            return kind in JOBS and (
                not has_ended(manifest) or (_has_one_pod(manifest) and bool(completed_at(manifest)))
            )
        phase = pod_phase(manifest)
        if phase != "Succeeded" or has_devices(manifest) or _component(manifest) in CLIENTS:
            return phase in ("Pending", "Running")
        jobs = self._jobs_of(manifest)
        return bool(jobs) and not any(has_ended(job) or is_deleting(job) or _has_one_pod(job) for job in jobs)

    def _jobs_of(self, pod: Manifest) -> list[Manifest]:
        """Return the Job or PyTorchJob that owns a pod, if it is known."""
        namespace, references = pod["metadata"]["namespace"], pod["metadata"].get("ownerReferences") or ()
        owners = (ObjectRef(o["apiVersion"], o["kind"], namespace, o["name"]) for o in references if o["kind"] in JOBS)
        return [job for owner in owners if (job := self.store.get(owner))]

    def claim_changed(self, change: str, manifest: Manifest) -> None:
        """Reconcile the runs that were waiting for a claim."""
        claim = ref_of(manifest)
        self.metrics.watch_last_event.labels(claim.kind).set_to_current_time()
        for run in self.gatherer.claim_changed(claim, exists=change != "DELETED"):
            self.queue.add(run, watched_at=time.monotonic())


def _has_one_pod(workload: Manifest) -> bool:
    return bool(workload["kind"] == "Job" and completions(workload) == 1)


def _component(manifest: Manifest) -> str | None:
    return (manifest["metadata"].get("labels") or {}).get(LABEL_COMPONENT)


def seconds_late(manifest: Manifest, now: float) -> float:
    """Return for how long at least an object had been changed when its event was handled, at a Unix time.

    The API server notes the time of a change in whole seconds, so less than one second is not noticed.
    """
    times = (parse_time(entry.get("time")) for entry in manifest["metadata"].get("managedFields") or ())
    changed: datetime | None = max(filter(None, times), default=None)
    return max(0.0, now - changed.timestamp() - 1.0) if changed else 0.0
