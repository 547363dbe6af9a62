"""A simulated API server with controllers that obey: enough to walk a run from its start to its end."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from fusionrun import names
from fusionrun.api.parameters import ResolveParameters
from fusionrun.api.result import Outcome, StageResult, encode_result
from fusionrun.api.stage import ReferenceKind
from fusionrun.api.status import FusionRunStatus, read_status
from fusionrun.api.task import decode_task
from fusionrun.cluster.trim import trim
from fusionrun.settings import Images, Settings
from fusionrun.state.decide.decision import Decision
from fusionrun.state.decide.prerequisites import prerequisites
from fusionrun.state.decide.run import decide
from fusionrun.state.observe.live_objects import LiveObjects, PushedProgress, Refusal
from fusionrun.state.observe.object_fields import COMPLETION_INDEX, is_finished
from fusionrun.state.observe.object_ref import ObjectRef, ref_of
from fusionrun.state.report.events import Event

SETTINGS = Settings(
    images=Images(data="data:1", serve="serve:1", train="train:1", reward="reward:1", sandbox="sandbox:1")
)
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def succeeded(kind: str, task: Any) -> StageResult:
    """Answer as a pod of that kind that has done its work."""
    counts, numbers, pins = {"peak_memory_bytes": 1000}, {}, []
    if isinstance(task.parameters, ResolveParameters):
        pins = [f"{i:012x}" for i, _ in enumerate(task.parameters.references)]
    if kind == "construct":
        counts |= {"sft_rows": 7, "pairs": 5, "sft:ada": 4, "sft:bob": 3, "pairs:ada": 5, "drop:AllCorrect": 2}
    if kind == "evaluate":
        numbers = {
            b.name: {"base": 20.0, "sft": 50.0, "final": 60.0}[task.parameters.model]
            for b in task.parameters.benchmarks
        }
    return StageResult(outcome=Outcome.SUCCEEDED, counts=counts, numbers=numbers, pins=pins)


@lru_cache
def _prerequisites(spec: str) -> tuple[ObjectRef, ...]:
    return prerequisites({"metadata": {"namespace": "lab"}, "spec": json.loads(spec)})


@dataclass
class World:
    """The objects of one run, and a clock."""

    run: dict[str, Any]
    settings: Settings = SETTINGS
    now: datetime = START
    objects: dict[ObjectRef, dict[str, Any]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    created: list[str] = field(default_factory=list)
    absent: set[str] = field(default_factory=set)
    """Names of prerequisites that are missing."""
    pushed: dict[tuple[str, int], PushedProgress] = field(default_factory=dict)
    warnings: dict[str, str] = field(default_factory=dict)
    """Newest Warning events, by the UID of their object."""
    refusals: dict[str, Refusal] = field(default_factory=dict)
    """What the API server says to creating an object, by ``Kind:stage``."""
    answer: Callable[[str, Any], StageResult] = succeeded
    unreported: set[ObjectRef] = field(default_factory=set)
    """Pods of which no watch has reported anything yet; a list shows them."""

    def live(self) -> LiveObjects:
        """Gather, of each object what the store keeps of it: a field that is read must be one that is kept."""
        present = {ref: ref.name not in self.absent for ref in _prerequisites(json.dumps(self.run["spec"]))}
        reported = [o for ref, o in self.objects.items() if ref not in self.unreported]
        children = tuple(trim(o, finished=is_finished(self.run)) for o in reported)
        return LiveObjects(trim(self.run, finished=False), children, present, self.pushed, warnings=self.warnings)

    def reconcile(self) -> Decision:
        """Decide once and carry it out."""
        live = self.live()
        decision = decide(live, self.settings, self.now)
        if decision.list_pods:
            self.unreported.clear()
            live = replace(self.live(), pods_listed=frozenset(decision.list_pods))
            decision = decide(live, self.settings, self.now)
        while refused := {ref_of(m): self.refusals[_label(m)] for m in decision.create if _label(m) in self.refusals}:
            live = replace(live, refused=live.refused | refused)
            decision = decide(live, self.settings, self.now)
        self.carry_out(decision)
        return decision

    def carry_out(self, decision: Decision) -> None:
        """Create, write the status, delete, tell, as ``cluster.execute`` does."""
        for manifest in decision.create:
            ref = ref_of(manifest)
            if ref not in self.objects:
                self.objects[ref] = manifest | {"metadata": manifest["metadata"] | {"creationTimestamp": self._stamp()}}
                self.created.append(_label(manifest))
        if decision.status is not None:
            self.run["status"] = decision.status.model_dump(mode="json", exclude_none=True)
        for ref in decision.delete:
            manifest = self.objects.pop(ref, None)
            if manifest:
                self._delete_pods(manifest)
        self.events += decision.events

    def settle(self) -> None:
        """Reconcile until nothing more is made or deleted; that a status written once stays is a test of its own."""
        for _ in range(20):
            decision = self.reconcile()
            if not decision.create and not decision.delete:
                return
        raise AssertionError(f"never settles: {decision}")

    def finish_in_turn(self, *stages: str) -> None:
        """Let these stages end well, each once it is there, and see what follows."""
        for stage in stages:
            self.settle()
            self.finish(stage)
        self.settle()

    def _stamp(self) -> str:
        return self.now.strftime("%Y-%m-%dT%H:%M:%SZ")

    def _delete_pods(self, manifest: dict[str, Any]) -> None:
        mine = manifest["metadata"]["name"]
        for ref in [
            r for r, o in self.objects.items() if o["kind"] == "Pod" and o["metadata"]["name"].startswith(mine)
        ]:
            del self.objects[ref]

    def workloads(self) -> dict[str, dict[str, Any]]:
        """Return the Jobs, PyTorchJobs and Deployments that are not over, by stage; of retries the last."""
        found = {}
        for manifest in self.objects.values():
            if manifest["kind"] in ("Job", "PyTorchJob", "Deployment") and not (manifest.get("status") or {}).get(
                "conditions"
            ):
                found[names.stage_from_label(manifest["metadata"]["labels"][names.LABEL_STAGE])] = manifest
        return found

    def place(self, stage: str, **metadata: Any) -> dict[str, Any]:
        """Let a stage's first pod come to a node and run; return the pod."""
        job = self.workloads()[stage]
        name = f"{job['metadata']['name']}-{len(self.objects)}"
        self.add_pod(job, name, {"phase": "Running", "startTime": self._stamp()}, {}, 0)
        pod = self.objects[ObjectRef("v1", "Pod", "lab", name)]
        pod["status"]["containerStatuses"] = [{"name": "c", "state": {"running": {"startedAt": self._stamp()}}}]
        pod["metadata"] |= metadata
        pod["spec"] = {"nodeName": "node-1"}
        return pod

    def make_ready(self, stage: str) -> None:
        """Let a server become ready."""
        self.workloads()[stage]["status"] = {"readyReplicas": 1}

    def finish(self, stage: str) -> None:
        """Let a stage's pods succeed and tell."""
        job = self.workloads()[stage]
        name = job["metadata"]["name"]
        task = decode_task(self.objects[ObjectRef("v1", "ConfigMap", "lab", name)]["data"]["task.json"])
        result = encode_result(self.answer(task.parameters.kind, task))
        for index in range(task.shards or 1):
            self.add_pod(job, f"{name}-{index}", {"phase": "Succeeded"}, {"exitCode": 0, "message": result}, index)
        done = "Succeeded" if job["kind"] == "PyTorchJob" else "Complete"
        job["status"] = {
            "startTime": job["metadata"]["creationTimestamp"],
            "completionTime": self._stamp(),
            "succeeded": task.shards or 1,
            "conditions": [{"type": done, "status": "True"}],
        }

    def fail(self, stage: str, terminated: dict[str, Any], status: dict[str, Any] | None = None) -> None:
        """Let a stage's pod fail, and its workload with it."""
        job = self.workloads()[stage]
        name = f"{job['metadata']['name']}-0"
        self.add_pod(job, name, {"phase": "Failed"} | (status or {}), {"exitCode": 1} | terminated, 0)
        job["status"] = {"conditions": [{"type": "Failed", "status": "True", "lastTransitionTime": self._stamp()}]}

    def add_pod(
        self, job: dict[str, Any], name: str, status: dict[str, Any], terminated: dict[str, Any], index: int
    ) -> None:
        """Add a pod of a workload that has ended."""
        labels = (job["spec"].get("template") or job["spec"]["pytorchReplicaSpecs"]["Master"]["template"])["metadata"][
            "labels"
        ]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": "lab",
                "labels": labels,
                "annotations": {COMPLETION_INDEX: str(index)},
            },
            "status": {"startTime": job["metadata"]["creationTimestamp"]}
            | status
            | {"containerStatuses": [{"name": "c", "state": {"terminated": terminated}}]},
        }
        self.objects[ref_of(pod)] = pod

    def step(self) -> bool:
        """Let everything at work get one step further; False when nothing was at work."""
        self.now += timedelta(seconds=7)
        moved = False
        for stage, manifest in self.workloads().items():
            if manifest["kind"] == "Deployment":
                if not (manifest.get("status") or {}).get("readyReplicas"):
                    self.make_ready(stage)
                    moved = True
            else:
                self.finish(stage)
                moved = True
        return moved

    def run_to_end(self) -> None:
        """Reconcile and let the world obey until nothing is at work."""
        self.settle()
        while self.step():
            self.settle()

    @property
    def status(self) -> FusionRunStatus:
        """Return the run's status."""
        return read_status(self.run["status"])

    def condition(self, kind: str) -> tuple[str, str, str]:
        """Return status, reason and message of a condition."""
        found = next(c for c in self.status.conditions if c.type == kind)
        return found.status, found.reason, found.message

    def stage(self, name: str) -> Any:
        """Return a stage's status."""
        return next(s for s in self.status.stages if s.name == name)


def _label(manifest: dict[str, Any]) -> str:
    return f"{manifest['kind']}:{manifest['metadata'].get('labels', {}).get(names.LABEL_STAGE, '')}"


__all__ = ["START", "ReferenceKind", "World", "succeeded"]
