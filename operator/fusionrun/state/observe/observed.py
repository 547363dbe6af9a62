"""Parse a run's children into what the decision needs: per stage and attempt, how far it is."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from fusionrun import names
from fusionrun.api.models import Manifest
from fusionrun.api.result import StageResult, decode_result
from fusionrun.state.observe.failures import Failure, explain, explain_early
from fusionrun.state.observe.live_objects import Live, ObjectRef, Pushed
from fusionrun.state.observe.server_failures import server_failure

INDEX_ANNOTATION = "batch.kubernetes.io/job-completion-index"
WORKLOADS = ("Job", "PyTorchJob", "Deployment")


class Phase(StrEnum):
    """How far a workload is."""

    RUNNING = "running"
    READY = "ready"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TERMINATING = "terminating"


@dataclass(frozen=True)
class Workload:
    """One attempt of a stage: its Job, PyTorchJob or Deployment, and the pods of it."""

    manifest: Manifest
    attempt: int
    phase: Phase
    started: datetime | None
    placed: datetime | None
    """When the first of its pods came to a node, and so since when it holds GPUs; None while none has."""
    ended: datetime | None
    pods: tuple[Manifest, ...]
    results: tuple[StageResult, ...]
    completed_shards: int
    failure: Failure | None
    warnings: dict[str, str] = field(default_factory=dict)
    """Newest Warning events of the run's objects, by UID."""

    @property
    def ref(self) -> ObjectRef:
        """Return what to delete."""
        return ref_of(self.manifest)

    @property
    def is_server(self) -> bool:
        """Whether it is a Deployment, which never ends by itself."""
        return bool(self.manifest["kind"] == "Deployment")

    @property
    def active(self) -> bool:
        """Whether it has, or may yet have, running pods."""
        return self.phase in (Phase.RUNNING, Phase.READY)

    @property
    def bound_pods(self) -> int:
        """How many of its pods are bound to a node and have not ended: those hold what they ask for."""
        return sum(map(_is_bound, self.pods))


@dataclass(frozen=True)
class ObservedStage:
    """Everything seen of one stage."""

    workloads: tuple[Workload, ...] = ()
    services: tuple[Manifest, ...] = ()
    pushed: dict[int, Pushed] = field(default_factory=dict)

    @property
    def latest(self) -> Workload | None:
        """Return the workload of the last attempt."""
        return max(self.workloads, key=lambda w: w.attempt, default=None)

    def before(self, attempt: int) -> "ObservedStage":
        """Return what is left of earlier attempts."""
        workloads = tuple(w for w in self.workloads if w.attempt < attempt)
        return ObservedStage(workloads, tuple(s for s in self.services if _attempt(s) < attempt))


@dataclass(frozen=True)
class Observed:
    """Everything seen of a run's children."""

    stages: dict[str, ObservedStage]
    config_maps: dict[str, dict[str, str]]
    """Data of the run's own ConfigMaps (spec and resolved) by name."""

    def stage(self, name: str) -> ObservedStage:
        """Return what was seen of a stage, which may be nothing."""
        return self.stages.get(name, ObservedStage())


def ref_of(manifest: Manifest) -> ObjectRef:
    """Return the reference of a manifest."""
    meta = manifest["metadata"]
    return ObjectRef(manifest["apiVersion"], manifest["kind"], meta.get("namespace", ""), meta["name"])


def parse_time(text: str | None) -> datetime | None:
    """Read a Kubernetes timestamp."""
    return datetime.fromisoformat(text) if text else None


def observe(live: Live) -> Observed:
    """Parse a run's children."""
    uid = live.run["metadata"]["uid"]
    mine = [m for m in live.children if m["kind"] == "Pod" or _owned(m, uid)]
    by_stage: dict[str, list[Manifest]] = {}
    config_maps: dict[str, dict[str, str]] = {}
    for manifest in mine:
        label = manifest["metadata"].get("labels", {}).get(names.LABEL_STAGE)
        if label:
            by_stage.setdefault(names.stage_from_label(label), []).append(manifest)
        elif manifest["kind"] == "ConfigMap":
            config_maps[manifest["metadata"]["name"]] = manifest.get("data") or {}
    stages = {name: _stage(name, manifests, live) for name, manifests in by_stage.items()}
    return Observed(stages, config_maps)


def _owned(manifest: Manifest, uid: str) -> bool:
    return any(o.get("uid") == uid for o in manifest["metadata"].get("ownerReferences") or [])


def _attempt(manifest: Manifest) -> int:
    return int(manifest["metadata"].get("labels", {}).get(names.LABEL_ATTEMPT, "0"))


def made_by(pod: Manifest, workload: Manifest) -> bool:
    """Whether a pod is this workload's: its namesake of a deleted run may have left pods that carry the same labels."""
    return bool(pod["metadata"]["name"].startswith(f"{workload['metadata']['name']}-"))


def _stage(name: str, manifests: list[Manifest], live: Live) -> ObservedStage:
    pods = [m for m in manifests if m["kind"] == "Pod"]
    workloads = []
    for manifest in manifests:
        if manifest["kind"] in WORKLOADS:
            own = [p for p in pods if _attempt(p) == _attempt(manifest) and made_by(p, manifest)]
            workloads.append(_workload(manifest, own, live.log_tails, live.warnings))
    pushed = {index: p for (stage, index), p in live.pushed.items() if stage == name}
    return ObservedStage(tuple(workloads), tuple(m for m in manifests if m["kind"] == "Service"), pushed)


def _workload(
    manifest: Manifest, pods: list[Manifest], log_tails: dict[str, str], warnings: dict[str, str]
) -> Workload:
    status = manifest.get("status") or {}
    true = {c["type"]: c for c in status.get("conditions") or [] if c.get("status") == "True"}
    phase, ended = Phase.RUNNING, None
    failure = None
    if manifest["metadata"].get("deletionTimestamp"):
        phase = Phase.TERMINATING
    elif manifest["kind"] == "Deployment":
        phase, failure = _server_phase(manifest, pods, log_tails)
    elif "Complete" in true or "Succeeded" in true:
        phase = Phase.SUCCEEDED
        ended = status.get("completionTime")
    elif "Failed" in true:
        phase = Phase.FAILED
        failure = explain(pods, log_tails)
        ended = true["Failed"].get("lastTransitionTime")
    elif manifest["kind"] == "Job":
        failure = explain_early(pods, log_tails, manifest["spec"]["backoffLimit"])
    return Workload(
        manifest=manifest,
        attempt=_attempt(manifest),
        phase=phase,
        started=parse_time(status.get("startTime") or manifest["metadata"].get("creationTimestamp")),
        placed=_placed(pods),
        ended=parse_time(ended),
        pods=tuple(pods),
        results=tuple(_results(pods)),
        completed_shards=int(status.get("succeeded") or 0),
        failure=failure,
        warnings=warnings,
    )


def _server_phase(manifest: Manifest, pods: list[Manifest], log_tails: dict[str, str]) -> tuple[Phase, Failure | None]:
    if int((manifest.get("status") or {}).get("readyReplicas") or 0) > 0:
        return Phase.READY, None
    failure = server_failure(manifest, pods, log_tails)
    return Phase.FAILED if failure else Phase.RUNNING, failure


def pod_ended(pod: Manifest) -> bool:
    """Tell whether a pod has ended, well or not."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _is_bound(pod: Manifest) -> bool:
    return bool((pod.get("spec") or {}).get("nodeName")) and not pod_ended(pod)


def _placed(pods: Iterable[Manifest]) -> datetime | None:
    """Return when the first of some pods came to its node: none before that holds a GPU, whatever its object's age.

    ``startTime`` is the kubelet's word that it has taken the pod. Source: Kubernetes API, PodStatus.
    """
    times = [time for pod in pods if (time := parse_time((pod.get("status") or {}).get("startTime")))]
    return min(times, default=None)


def _results(pods: Iterable[Manifest]) -> Iterable[StageResult]:
    """Yield the last words of succeeded pods; of several pods for one index the first counts."""
    seen: set[str] = set()
    for pod in pods:
        status = pod.get("status") or {}
        index = pod["metadata"].get("annotations", {}).get(INDEX_ANNOTATION, pod["metadata"]["name"])
        if status.get("phase") != "Succeeded" or index in seen:
            continue
        for container in status.get("containerStatuses") or []:
            terminated = (container.get("state") or {}).get("terminated") or {}
            result = decode_result(terminated.get("message") or "")
            if result is not None:
                seen.add(index)
                yield result
