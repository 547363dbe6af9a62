"""Watches: every event updates the store and, if the object changed, adds its run to the work queue.

Only kopf's ``on.event`` is used: its other handlers add finalizers or annotations to objects.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import kopf

from fusionrun.cluster.gather import CHILDREN, Gatherer
from fusionrun.cluster.resources import RESOURCES
from fusionrun.cluster.store import Store
from fusionrun.handlers.resync import Resync
from fusionrun.handlers.work_queue import WorkQueue
from fusionrun.metrics import Metrics
from fusionrun.names import GROUP, KIND, LABEL_RUN, PLURAL, VERSION
from fusionrun.state.observe.object_ref import ObjectRef, ref_of, run_of


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
        """Watch runs, their objects by label, and claims."""
        kopf.on.event(GROUP, VERSION, PLURAL, id="run", registry=registry)(self.object_changed)
        for api_version, kind in CHILDREN:
            group, _, version = api_version.rpartition("/")
            plural, _namespaced = RESOURCES[api_version, kind]
            kopf.on.event(group, version, plural, id="child", registry=registry)(self.object_changed)
            settings.watching.label_selectors[group, version, plural] = LABEL_RUN
        kopf.on.event("", "v1", "persistentvolumeclaims", id="claim", registry=registry)(self.claim_changed)

    async def object_changed(self, event: dict[str, Any], **_: Any) -> None:
        """Store a run or one of its objects; reconcile the run if the object changed."""
        manifest = event["object"]
        self.metrics.watch_last_event.labels(manifest["kind"]).set_to_current_time()
        ref, run = ref_of(manifest), run_of(manifest)
        if event["type"] == "DELETED":
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
        if event["type"] is None:  # the watch has started with a list, which does not show what was deleted before
            self.resync.soon()
        if changed and run is not None and self.resync.is_ready(run.namespace):
            self.queue.add(run, watched=True)

    async def claim_changed(self, event: dict[str, Any], **_: Any) -> None:
        """Reconcile the runs that were waiting for a claim."""
        claim = ref_of(event["object"])
        self.metrics.watch_last_event.labels(claim.kind).set_to_current_time()
        for run in self.gatherer.claim_changed(claim, exists=event["type"] != "DELETED"):
            self.queue.add(run, watched=True)
