"""A simulated Kueue: one ClusterQueue with a quota of GPUs and the strategy StrictFIFO."""

from dataclasses import dataclass, field
from typing import Any

from fusionrun.names import LABEL_QUEUE, LABEL_QUEUE_MANAGED
from fusionrun.state.observe.object_fields import has_ended, stage_of
from fusionrun.state.observe.object_ref import ObjectRef
from support.pod_security import containers, pod_specs
from support.world import World

Manifest = dict[str, Any]
KINDS = ("Job", "PyTorchJob", "TrainJob", "Deployment")
WAITS = {"type": "QuotaReserved", "status": "False", "reason": "WaitingForQuota", "message": "8 more needed"}


def workload(name: str, *conditions: Manifest, active: bool = True, **status: Any) -> Manifest:
    """Return a Workload of Kueue."""
    return {
        "apiVersion": "kueue.x-k8s.io/v1beta2",
        "kind": "Workload",
        "metadata": {"name": name},
        "spec": {"active": active},
        "status": {"conditions": list(conditions), **status},
    }


@dataclass
class Kueue:
    """Queues the labelled objects of a world in the order in which they were created."""

    world: World
    quota: int
    integrations: tuple[str, ...] = KINDS
    waiting: list[ObjectRef] = field(default_factory=list)
    admitted: list[ObjectRef] = field(default_factory=list)

    def reconcile(self) -> None:
        """Queue new objects, and admit the first ones as long as they fit."""
        objects = self.world.objects
        live = {r: m for r, m in objects.items() if r.kind in self.integrations and _queue(m) and not has_ended(m)}
        self.waiting = [ref for ref in self.waiting if ref in live]
        self.admitted = [ref for ref in self.admitted if ref in live]
        for ref in live:
            if ref not in self.waiting and ref not in self.admitted:
                self._queue(ref)
        while self.waiting and self._used() + self._gpus(self.waiting[0]) <= self.quota:
            self._admit(self.waiting.pop(0))

    def preempt(self, stage: str) -> None:
        """Take the quota from a stage: its pods are deleted, and it waits at the end of the queue."""
        ref = next(r for r in self.admitted if stage_of(self.world.objects[r]) == stage)
        self.admitted.remove(ref)
        self.world._delete_pods(self.world.objects[ref])
        self._queue(ref)
        evicted = {"type": "Evicted", "status": "True", "reason": "Preempted", "message": "for a workload of team b"}
        self.world.kueue[ref.name] = workload(ref.name, WAITS, evicted)
        if ref.kind == "Deployment":
            self.world.objects[ref]["status"] = {}

    def step(self) -> bool:
        """Let the stages that have pods succeed, or become ready; return whether there was one."""
        moved = False
        for stage, manifest in self.world.workloads().items():
            held = ObjectRef(manifest["apiVersion"], manifest["kind"], "lab", manifest["metadata"]["name"])
            if held not in self.waiting and not (manifest.get("status") or {}).get("readyReplicas"):
                self.world.finish(stage)
                moved = True
        return moved

    def run_to_end(self) -> None:
        """Walk the run as far as it gets."""
        while True:
            self.world.settle()
            self.reconcile()
            if not self.step():
                return
            self.world.pass_time(minutes=1)

    def _used(self) -> int:
        return sum(map(self._gpus, self.admitted))

    def _gpus(self, ref: ObjectRef) -> int:
        """Return the GPUs of an object. The pod template of a TrainJob is in its TrainingRuntime, of the same name."""
        runtime = ObjectRef(ref.api_version, "TrainingRuntime", ref.namespace, ref.name)
        return gpus(self.world.objects[runtime if ref.kind == "TrainJob" else ref])

    def _queue(self, ref: ObjectRef) -> None:
        manifest = self.world.objects[ref]
        manifest["metadata"]["uid"] = ref.name
        self.waiting.append(ref)
        self.world.kueue[ref.name] = workload(ref.name, WAITS)
        if ref.kind == "Deployment":
            pod = self._pod(ref)
            gated = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": "gated"}
            pod["status"] = {"phase": "Pending", "conditions": [gated]}
            del pod["spec"]["nodeName"]
            self.world.kueue[pod["metadata"]["uid"]] = self.world.kueue[ref.name]
        else:
            self._suspend(manifest, suspend=True)

    def _admit(self, ref: ObjectRef) -> None:
        manifest = self.world.objects[ref]
        self.admitted.append(ref)
        self.world.kueue[ref.name] = workload(ref.name, WAITS | {"status": "True"})
        if ref.kind == "Deployment":
            pod = self._pod(ref)
            pod["status"] = {"phase": "Running"}
            pod["spec"]["nodeName"] = "node-1"
        else:
            self._suspend(manifest, suspend=False)

    def _pod(self, ref: ObjectRef) -> Manifest:
        """Return the pod of a Deployment; it is created if there is none."""
        manifest = self.world.objects[ref]
        pods = [m for r, m in self.world.objects.items() if r.kind == "Pod" and r.name.startswith(f"{ref.name}-")]
        if pods:
            return pods[0]
        labels = {LABEL_QUEUE: _queue(manifest), LABEL_QUEUE_MANAGED: "true"}
        pod = self.world.place(stage_of(manifest) or "")
        pod["metadata"] |= {"uid": pod["metadata"]["name"], "labels": pod["metadata"]["labels"] | labels}
        return pod

    @staticmethod
    def _suspend(manifest: Manifest, *, suspend: bool) -> None:
        spec = manifest["spec"]["runPolicy"] if manifest["kind"] == "PyTorchJob" else manifest["spec"]
        spec["suspend"] = suspend
        manifest["status"] = {"conditions": [{"type": "Suspended", "status": str(suspend)}]}


def gpus(manifest: Manifest) -> int:
    """Return the GPUs that the pods of an object request: one pod per template."""
    limits = [c["resources"].get("limits", {}) for _, pod in pod_specs(manifest) for c in containers(pod)]
    return sum(int(limit.get("nvidia.com/gpu", 0)) for limit in limits)


def _queue(manifest: Manifest) -> str:
    return manifest["metadata"]["labels"].get(LABEL_QUEUE, "")
