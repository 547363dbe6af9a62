"""A simulated API server with controllers, in which a run can be walked from start to end."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter

from fusionrun import names
from fusionrun.api.pod import COMPLETION_INDEX_ANNOTATION
from fusionrun.api.results.result import Outcome, StageResult, encode_result
from fusionrun.api.results.values import Constructed, Evaluated, Resolved, SourceCounts, Values
from fusionrun.api.stage import StageKind
from fusionrun.api.status.run import FusionRunStatus, read_status
from fusionrun.api.tasks.parameters import Parameters
from fusionrun.api.tasks.task import decode_task
from fusionrun.cluster.trim import trim
from fusionrun.objects.templates import pod_templates
from fusionrun.settings import Images, Settings
from fusionrun.state.decide.decision import Decision
from fusionrun.state.decide.prerequisites import prerequisites
from fusionrun.state.decide.run import decide
from fusionrun.state.observe.live_objects import LiveObjects, OtherWorkload, PushedProgress, Refusal
from fusionrun.state.observe.object_fields import WORKLOADS, format_time, has_ended, is_finished, stage_of
from fusionrun.state.observe.object_ref import ObjectRef, ref_of
from fusionrun.state.observe.run_cache import RunCache
from fusionrun.state.report.events import Event
from support.runs import make_run

SETTINGS = Settings(
    images=Images(data="data:1", serve="serve:1", train="train:1", reward="reward:1", sandbox="sandbox:1")
)
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def succeeded(kind: str, task: Any) -> StageResult:
    """Return the result of a stage that succeeds."""
    return StageResult(outcome=Outcome.SUCCEEDED, peak_memory_bytes=1000, values=_values(kind, task.parameters))


def _values(kind: str, parameters: Parameters) -> Values:
    match kind:
        case StageKind.RESOLVE:
            return Resolved(pins=[f"{i:012x}" for i, _ in enumerate(parameters.references)])
        case StageKind.CONSTRUCT:
            by_source = {"ada": SourceCounts(sft_rows=4, pairs=5), "bob": SourceCounts(sft_rows=3)}
            return Constructed(sft_rows=7, pairs=5, by_source=by_source, drops={"AllCorrect": 2})
        case StageKind.EVALUATE:
            score = {"base": 20.0, "sft": 50.0, "final": 60.0}.get(parameters.model, 40.0)
            return Evaluated(scores={b.name: score for b in parameters.benchmarks})
    return TypeAdapter(Values).validate_python({"kind": kind})


def with_complete(complete: Callable[[str], bool]) -> Callable[[str, Any], StageResult]:
    """Return an answer that is ``succeeded``, and ``resolve`` finds the artifacts of some stages complete."""

    def answer(kind: str, task: Any) -> StageResult:
        result = succeeded(kind, task)
        if kind != "resolve":
            return result
        found = [i for i, stage in enumerate(task.parameters.stages) if complete(stage.name)]
        return result.model_copy(update={"values": result.values.model_copy(update={"complete": found})})

    return answer


@lru_cache
def _prerequisites(spec: str) -> tuple[ObjectRef, ...]:
    return prerequisites({"metadata": {"namespace": "lab"}, "spec": json.loads(spec)})


@dataclass
class World:
    """The objects of one run, and the time."""

    run: dict[str, Any]
    settings: Settings = SETTINGS
    now: datetime = START
    objects: dict[ObjectRef, dict[str, Any]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    created: list[str] = field(default_factory=list)
    absent: set[str] = field(default_factory=set)
    """Names of missing prerequisites."""
    pushed: dict[tuple[str, int], PushedProgress] = field(default_factory=dict)
    warnings: dict[str, str] = field(default_factory=dict)
    """Latest Warning events by UID of the object."""
    kueue: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    """Kueue's Workloads by UID of the object that they queue."""
    refusals: dict[str, Refusal] = field(default_factory=dict)
    """Objects that cannot be created, by ``Kind:stage``."""
    answer: Callable[[str, Any], StageResult] = succeeded
    work: dict[str, int] = field(default_factory=dict)
    """Seconds of stages of finished runs, by the hash of their work."""
    others: Callable[[], tuple[OtherWorkload, ...]] = tuple
    """Returns the workloads of other runs for artifacts of the run."""
    cache: RunCache = field(default_factory=RunCache)
    unreported: set[ObjectRef] = field(default_factory=set)
    """Pods that a list returns and no watch has reported yet."""

    @property
    def clock(self) -> datetime:
        """Time of the operator's clock."""
        return self.now

    def live(self) -> LiveObjects:
        """Return the live objects, trimmed as in the store: a decision must read no other field."""
        present = {ref: ref.name not in self.absent for ref in _prerequisites(json.dumps(self.run["spec"]))}
        # Secrets are not watched.
        reported = [o for ref, o in self.objects.items() if ref not in self.unreported and ref.kind != "Secret"]
        children = tuple(trim(o, finished=is_finished(self.run)) for o in reported)
        run = trim(self.run, finished=False)
        found = {"warnings": self.warnings, "others": self.others(), "kueue": self.kueue, "work": self.work}
        return LiveObjects(run, children, present, self.pushed, cache=self.cache, **found)

    def reconcile(self) -> Decision:
        """Decide and carry the decision out."""
        live = self.live()
        decision = decide(live, self.settings, self.clock)
        if decision.list_pods:
            self.unreported.clear()
            live = replace(self.live(), pods_listed=frozenset(decision.list_pods))
            decision = decide(live, self.settings, self.clock)
        while refused := {ref_of(m): self.refusals[_label(m)] for m in decision.create if _label(m) in self.refusals}:
            live = replace(live, refused=live.refused | refused)
            decision = decide(live, self.settings, self.clock)
        self.carry_out(decision)
        return decision

    def carry_out(self, decision: Decision) -> None:
        """Create, write the status, delete and post events, as ``cluster.execute`` does."""
        for manifest in decision.create:
            ref = ref_of(manifest)
            if ref not in self.objects or self.objects[ref].get("data") != manifest.get("data"):
                self.objects[ref] = manifest | {
                    "metadata": manifest["metadata"] | {"creationTimestamp": format_time(self.now)}
                }
                self.created.append(_label(manifest))
        if decision.status is not None:
            self.run["status"] = decision.status.model_dump(mode="json", exclude_none=True)
        for ref in decision.delete:
            manifest = self.objects.pop(ref, None)
            if manifest:
                self._delete_pods(manifest)
        self.events += decision.events

    def settle(self, reconcile: Callable[[], Decision] | None = None) -> None:
        """Reconcile until nothing is created or deleted; ``reconcile`` is used in place of ``self.reconcile``."""
        for _ in range(20):
            decision = (reconcile or self.reconcile)()
            again = decision.status is not None and decision.requeue_seconds == 0.0
            if not decision.create and not decision.delete and not again:
                return
        raise AssertionError(f"does not settle: {decision}")

    def pass_time(self, **duration: float) -> None:
        """Let time pass, and reconcile; ``duration`` are arguments of ``timedelta``."""
        self.now += timedelta(**duration)
        self.settle()

    def change_spec(self, **fields: Any) -> None:
        """Change fields of the spec, and reconcile."""
        self.run["spec"] |= fields
        self.settle()

    def run_until(self, stage: str) -> None:
        """Walk the run until a stage has a workload."""
        self.settle()
        while stage not in self.workloads():
            assert self.step(), stage
            self.settle()

    def serve(self, source: str) -> None:
        """Let the server of a source become ready, and reconcile."""
        self.finish_in_turn(f"serve/{source}")

    def finish_in_turn(self, *stages: str) -> None:
        """Let stages succeed, or servers become ready, one after the other, and reconcile."""
        for stage in stages:
            self.settle()
            self.finish(stage)
        self.settle()

    def _delete_pods(self, manifest: dict[str, Any]) -> None:
        mine = manifest["metadata"]["name"]
        for ref in [r for r in self.objects if r.kind == "Pod" and r.name.startswith(mine)]:
            del self.objects[ref]

    def of_kind(self, *kinds: str) -> list[dict[str, Any]]:
        """List the objects of some kinds."""
        return [o for ref, o in self.objects.items() if ref.kind in kinds]

    def task_ref(self, stage: str) -> ObjectRef:
        """Return the reference of the ConfigMap with the task of a stage that has a workload."""
        return ObjectRef("v1", "ConfigMap", "lab", self.workloads()[stage]["metadata"]["name"])

    def task(self, stage: str) -> Any:
        """Return the task of a stage that has a workload."""
        return decode_task(self.objects[self.task_ref(stage)]["data"]["task.json"])

    @property
    def started(self) -> list[str]:
        """The workloads that have been created, as ``Kind:stage``."""
        return [label for label in self.created if label.split(":")[0] in WORKLOADS]

    def workloads(self) -> dict[str, dict[str, Any]]:
        """Return the Jobs, PyTorchJobs, TrainJobs and Deployments without a condition: the last of each stage."""
        found = {}
        for manifest in self.objects.values():
            if manifest["kind"] in WORKLOADS and not has_ended(manifest):
                found[stage_of(manifest)] = manifest
        return found

    def place(self, stage: str, **metadata: Any) -> dict[str, Any]:
        """Let the first pod of a stage run on a node; return the pod."""
        job = self.workloads()[stage]
        name = f"{job['metadata']['name']}-{len(self.objects)}"
        self.add_pod(job, name, {"phase": "Running", "startTime": format_time(self.now)}, {}, 0)
        pod = self.objects[ObjectRef("v1", "Pod", "lab", name)]
        pod["status"]["containerStatuses"] = [{"name": "c", "state": {"running": {"startedAt": format_time(self.now)}}}]
        pod["metadata"] |= metadata
        pod["spec"]["nodeName"] = "node-1"
        return pod

    def wait_for_secret(self, stage: str, kubelet: str) -> dict[str, Any]:
        """Let the kubelet not start the first pod of a stage, for the reason that it gives; return the pod."""
        pod = self.place(stage)
        pod["status"]["phase"] = "Pending"
        waiting = {"reason": "CreateContainerConfigError", "message": kubelet}
        pod["status"]["containerStatuses"] = [{"name": "c", "state": {"waiting": waiting}}]
        return pod

    def make_ready(self, stage: str) -> None:
        """Let a server become ready."""
        self.workloads()[stage]["status"] = {"readyReplicas": 1}

    def finish(self, stage: str) -> None:
        """Let the pods of a stage succeed with results, or a server become ready."""
        job = self.workloads()[stage]
        if job["kind"] == "Deployment":
            self.make_ready(stage)
            return
        name, task = job["metadata"]["name"], self.task(stage)
        result = encode_result(self.answer(task.parameters.kind, task))
        for index in range(task.workers or task.shards or 1):
            self.add_pod(job, f"{name}-{index}", {"phase": "Succeeded"}, {"exitCode": 0, "message": result}, index)
        done = "Succeeded" if job["kind"] == "PyTorchJob" else "Complete"
        job["status"] = {
            "startTime": job["metadata"]["creationTimestamp"],
            "completionTime": format_time(self.now),
            "succeeded": task.workers or task.shards or 1,
            "conditions": [{"type": done, "status": "True", "lastTransitionTime": format_time(self.now)}],
        }

    def fail(self, stage: str, terminated: dict[str, Any], status: dict[str, Any] | None = None) -> None:
        """Let a pod and its workload fail."""
        job = self.workloads()[stage]
        name = f"{job['metadata']['name']}-0"
        self.add_pod(job, name, {"phase": "Failed"} | (status or {}), {"exitCode": 1} | terminated, 0)
        job["status"] = {
            "conditions": [{"type": "Failed", "status": "True", "lastTransitionTime": format_time(self.now)}]
        }

    def add_pod(
        self, job: dict[str, Any], name: str, status: dict[str, Any], terminated: dict[str, Any], index: int
    ) -> None:
        """Add an ended pod to a workload."""
        template = next(iter(pod_templates(job)), job)  # that of a TrainJob is in its runtime, with the same labels
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": "lab",
                "uid": f"uid-of-{name}",
                "labels": template["metadata"]["labels"],
                "annotations": {COMPLETION_INDEX_ANNOTATION: str(index)},
            },
            "spec": {k: template["spec"][k] for k in ("containers", "nodeSelector") if k in template["spec"]},
            "status": {"startTime": job["metadata"]["creationTimestamp"]}
            | status
            | {"containerStatuses": [{"name": "c", "state": {"terminated": terminated}}]},
        }
        self.objects[ref_of(pod)] = pod

    def step(self) -> bool:
        """Let servers become ready and other active stages succeed; return whether there was one."""
        self.now += timedelta(seconds=7)
        moved = False
        for stage, manifest in self.workloads().items():
            if not (manifest.get("status") or {}).get("readyReplicas"):
                self.finish(stage)
                moved = True
        return moved

    def run_to_end(self) -> None:
        """Walk the run to its end."""
        self.settle()
        while self.step():
            self.settle()

    def complete(self) -> None:
        """Walk the run to its end, which must be a success."""
        self.run_to_end()
        assert self.condition("Complete")[0] == "True", self.condition("Ready")

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


def world_after(*stages: str, **changes: Any) -> World:
    """Return the world of the small run with changed fields, in which some stages have ended or servers are ready."""
    world = World(make_run(**changes))
    world.finish_in_turn(*stages)
    return world


def _label(manifest: dict[str, Any]) -> str:
    return f"{manifest['kind']}:{manifest['metadata'].get('labels', {}).get(names.LABEL_STAGE, '')}"
