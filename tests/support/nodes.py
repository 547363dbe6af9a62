"""A simulated cluster whose pods have a node, and hold its GPUs until they have ended: also while they terminate."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fusionrun.state.observe.object_fields import (
    WORKLOADS,
    attempt_of,
    format_time,
    is_deleting,
    is_suspended,
    pod_ended,
    stage_of,
)
from fusionrun.state.observe.object_ref import ObjectRef, ref_of
from support.world import World

GRACE = timedelta(seconds=30)
Manifest = dict[str, Any]


@dataclass
class Nodes(World):
    """The objects of one run, with pods on nodes; the clock of the operator may be wrong."""

    skew: timedelta = timedelta(0)
    """Error of the operator's clock."""
    made: int = 0
    """Number of pods so far."""

    @property
    def clock(self) -> datetime:
        """Time of the operator's clock."""
        return self.now + self.skew

    def pods_of(self, workload: Manifest) -> list[Manifest]:
        """List the pods of a workload."""
        key = (stage_of(workload), attempt_of(workload))
        return [pod for pod in self.of_kind("Pod") if (stage_of(pod), attempt_of(pod)) == key]

    def bind(self, workload: Manifest, count: int) -> None:
        """Let each pod of a workload run on a node."""
        name = workload["metadata"]["name"]
        for index in range(count):
            if ObjectRef("v1", "Pod", "lab", f"{name}-{index}") not in self.objects:
                self.add_pod(workload, f"{name}-{index}", {"phase": "Running"}, {}, index)

    def add_pod(self, job: Manifest, name: str, status: Manifest, terminated: Manifest, index: int) -> None:
        """Add a pod, or let the one with this name end, once; a pod without a ``terminated`` state runs."""
        before = self.objects.get(ObjectRef("v1", "Pod", "lab", name))
        if before and pod_ended(before):
            return
        ended = terminated | {"finishedAt": format_time(self.now)} if terminated else {}
        super().add_pod(job, name, status, ended, index)
        pod = self.objects[ObjectRef("v1", "Pod", "lab", name)]
        if before is None:
            self.made += 1
            pod["metadata"] |= {"uid": f"uid-{self.made}", "creationTimestamp": format_time(self.now)}
        else:
            pod["metadata"] = before["metadata"]
        bound = (before or {}).get("status", {}).get("startTime") or format_time(self.now)
        pod["status"]["startTime"] = bound
        pod["status"]["conditions"] = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": bound}]
        if not terminated:
            pod["status"]["containerStatuses"][0]["state"] = {"running": {"startedAt": bound}}
        pod["spec"]["nodeName"] = "node-1"

    def end(self, workload: Manifest) -> None:
        """Delete the pods of an ended workload that still run: they terminate."""
        for pod in self.pods_of(workload):
            if not pod_ended(pod):
                self.terminate(pod)

    def terminate(self, manifest: Manifest) -> None:
        """Delete an object with a grace period; a pod that has ended is gone at once."""
        if manifest["kind"] == "Pod" and pod_ended(manifest):
            self.objects.pop(ref_of(manifest), None)
        else:
            manifest["metadata"].setdefault("deletionTimestamp", format_time(self.now + GRACE))

    def remove(self, ref: ObjectRef) -> None:
        """Delete an object at once; the pods of a workload terminate."""
        if manifest := self.objects.pop(ref, None):
            self._delete_pods(manifest)

    def _delete_pods(self, manifest: Manifest) -> None:
        if manifest["kind"] in WORKLOADS:
            for pod in self.pods_of(manifest):
                self.terminate(pod)

    def reap(self) -> None:
        """Let everything that terminates be gone."""
        for ref in [ref for ref, manifest in self.objects.items() if is_deleting(manifest)]:
            self.remove(ref)

    def can_run(self, manifest: Manifest) -> bool:
        """Return whether the pods of a workload can start: it is admitted, and its ConfigMap or Service exists."""
        kind = "Service" if manifest["kind"] == "Deployment" else "ConfigMap"
        other = self.objects.get(ObjectRef("v1", kind, "lab", manifest["metadata"]["name"]))
        if other is None or is_suspended(manifest) or is_deleting(manifest):
            return False
        return kind == "ConfigMap" or (
            manifest["spec"].get("replicas") != 0 and "gone" not in other["spec"]["selector"]
        )

    def held(self) -> list[Manifest]:
        """List the pods that hold a node."""
        return [pod for pod in self.of_kind("Pod") if not pod_ended(pod)]
