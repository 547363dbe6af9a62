"""One attempt of a stage: its Job, PyTorchJob, TrainJob or Deployment, and the pods that it created."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from fusionrun.api.contract import Manifest
from fusionrun.api.pod import COMPLETION_INDEX_ANNOTATION
from fusionrun.api.results.result import StageResult, decode_result
from fusionrun.api.stage import PREFLIGHT_TRAINING, StageKind
from fusionrun.names import LABEL_COMPONENT, LABEL_STAGE, stage_from_label
from fusionrun.state.observe.failures import Failure, explain, explain_early
from fusionrun.state.observe.kueue import KueueWorkloads
from fusionrun.state.observe.object_fields import (
    attempt_of,
    completions,
    ended_containers,
    is_deleting,
    parse_time,
    pod_ended,
    pod_phase,
)
from fusionrun.state.observe.object_ref import ObjectRef, ref_of
from fusionrun.state.observe.server_failures import server_failure

SHARDS_FAILED = ("FailedIndexes", "MaxFailedIndexesExceeded")
"""Reasons of a Job whose shards reached ``backoffLimitPerIndex``. Source: Kubernetes API, batch/v1."""


class Phase(StrEnum):
    """Phase of a workload."""

    RUNNING = "running"
    READY = "ready"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TERMINATING = "terminating"


@dataclass(frozen=True)
class Workload:
    """One attempt of a stage, with its pods."""

    manifest: Manifest
    attempt: int
    phase: Phase
    started: datetime | None
    ended: datetime | None
    pods: tuple[Manifest, ...]
    results: tuple[StageResult, ...]
    completed_shards: int
    failure: Failure | None
    warnings: dict[str, str] = field(default_factory=dict)
    """Latest Warning events of the run's objects, by UID."""
    kueue: KueueWorkloads = field(default_factory=dict)
    """Kueue's Workloads of the run's objects that wait in a queue, by the UID of the object."""

    @property
    def ref(self) -> ObjectRef:
        """Reference of the workload's object."""
        return ref_of(self.manifest)

    @property
    def is_server(self) -> bool:
        """Whether it is a Deployment, which never completes."""
        return bool(self.manifest["kind"] == "Deployment")

    @property
    def replicas(self) -> int:
        """Number of pods that a Deployment should have, or that a Job may have at the same time."""
        spec = self.manifest["spec"]
        return int(spec.get("replicas") or spec.get("parallelism") or 1)

    @property
    def ready_replicas(self) -> int:
        """Number of pods of a Deployment that are Ready."""
        return int((self.manifest.get("status") or {}).get("readyReplicas") or 0)

    @property
    def failed_shards(self) -> str:
        """Shards of a Job that failed for good, as ``1,3-5``, while others run."""
        return str((self.manifest.get("status") or {}).get("failedIndexes") or "")

    @property
    def active(self) -> bool:
        """Whether it has running pods, or may still get some."""
        return self.phase in (Phase.RUNNING, Phase.READY)

    @property
    def holds_pods(self) -> bool:
        """Whether it must be deleted to stop its pods: it is active, or it is a failed server."""
        return self.active or (self.phase is Phase.FAILED and self.is_server)

    @property
    def placed(self) -> datetime | None:
        """Time at which its first pod that still exists started on a node; None before that."""
        return min(filter(None, map(_start_time, self.pods)), default=None)

    @property
    def waits(self) -> bool:
        """Whether no pod of it has had a node yet: it can be created again without a loss."""
        started = any(_has_node(pod) or pod_ended(pod) for pod in self.pods)
        return self.active and not (started or self.completed_shards or self.phase is Phase.READY)

    @property
    def is_bound(self) -> bool:
        """Whether a pod of it is scheduled to a node and has not ended."""
        return any(_has_node(pod) and not pod_ended(pod) for pod in self.pods)


def observe_workload(
    manifest: Manifest, pods: list[Manifest], log_tails: dict[str, str], warnings: dict[str, str]
) -> Workload:
    """Parse a workload and its pods."""
    status = manifest.get("status") or {}
    true = {c["type"]: c for c in status.get("conditions") or [] if c.get("status") == "True"}
    phase, ended, failure = Phase.RUNNING, None, None
    if is_deleting(manifest):
        phase = Phase.TERMINATING
    elif manifest["kind"] == "Deployment":
        phase, failure = _server_phase(manifest, pods, log_tails)
    elif success := true.get("Complete") or true.get("Succeeded"):
        phase, ended = Phase.SUCCEEDED, status.get("completionTime") or success.get("lastTransitionTime")
    elif "Failed" in true:
        phase, ended = Phase.FAILED, true["Failed"].get("lastTransitionTime")
        failed = _of_failed_shards(pods, status) if true["Failed"].get("reason") in SHARDS_FAILED else pods
        failure = explain(failed, log_tails, together=_is_training(manifest))
    elif pods_succeeded(manifest, pods):
        phase, ended = Phase.SUCCEEDED, max(_end_times(pods), default=None)
    elif manifest["kind"] == "Job" and not _is_training(manifest):
        spec = manifest["spec"]
        failure = explain_early(pods, log_tails, spec.get("backoffLimitPerIndex", spec.get("backoffLimit", 0)))
    return Workload(
        manifest=manifest,
        attempt=attempt_of(manifest),
        phase=phase,
        started=parse_time(status.get("startTime") or manifest["metadata"].get("creationTimestamp")),
        ended=parse_time(ended),
        pods=tuple(pods),
        results=tuple(_results(pods)),
        completed_shards=int(status.get("succeeded") or 0),
        failure=failure,
        warnings=warnings,
    )


def pods_succeeded(workload: Manifest, pods: Iterable[Manifest]) -> bool:
    """Return whether a workload is a Job of which every completion index has a succeeded pod.

    The Job succeeds then, whatever happens: its controller writes so a second later, or later if it has many Jobs.
    """
    if workload["kind"] != "Job":
        return False
    indexes = {_index(pod) for pod in pods if pod_phase(pod) == "Succeeded"}
    return len(indexes) >= completions(workload)


def _end_times(pods: Iterable[Manifest]) -> list[str]:
    ended = (state for pod in pods if pod_phase(pod) == "Succeeded" for state in ended_containers(pod))
    return [str(state["finishedAt"]) for state in ended if state.get("finishedAt")]


def _start_time(pod: Manifest) -> datetime | None:
    return parse_time((pod.get("status") or {}).get("startTime"))


def _has_node(pod: Manifest) -> bool:
    return bool((pod.get("spec") or {}).get("nodeName"))


def _of_failed_shards(pods: list[Manifest], status: Manifest) -> list[Manifest]:
    """Return the pods of the shards that failed for good, of those that are there; others have been retried."""
    failed: set[int] = set()
    for part in filter(None, str(status.get("failedIndexes") or "").split(",")):
        first, _, last = part.partition("-")
        failed.update(range(int(first), int(last or first) + 1))
    names = {str(index) for index in failed}
    indexes = ((pod, (pod["metadata"].get("annotations") or {}).get(COMPLETION_INDEX_ANNOTATION)) for pod in pods)
    return [pod for pod, index in indexes if index in names] or pods


def _is_training(manifest: Manifest) -> bool:
    """Return whether the pods of a workload are the ranks of one training."""
    labels = manifest["metadata"].get("labels", {})
    stage = stage_from_label(labels.get(LABEL_STAGE, ""))
    return labels.get(LABEL_COMPONENT) in (StageKind.SFT, StageKind.DPO) or stage == PREFLIGHT_TRAINING


def _server_phase(manifest: Manifest, pods: list[Manifest], log_tails: dict[str, str]) -> tuple[Phase, Failure | None]:
    if int((manifest.get("status") or {}).get("readyReplicas") or 0) > 0:
        return Phase.READY, None
    failure = server_failure(manifest, pods, log_tails)
    return Phase.FAILED if failure else Phase.RUNNING, failure


def _results(pods: Iterable[Manifest]) -> Iterator[StageResult]:
    """Yield the results of succeeded pods; of several pods with the same completion index, only the first result."""
    shards: set[str] = set()
    for pod in pods:
        index = _index(pod)
        if pod_phase(pod) != "Succeeded" or index in shards:
            continue
        kind = pod["metadata"].get("labels", {}).get(LABEL_COMPONENT, "")
        for terminated in ended_containers(pod):
            result = decode_result(terminated.get("message") or "", kind)
            if result is not None:
                shards.add(index)
                yield result


def _index(pod: Manifest) -> str:
    """Return the completion index of a pod; the name of a pod without one."""
    return str(pod["metadata"].get("annotations", {}).get(COMPLETION_INDEX_ANNOTATION, pod["metadata"]["name"]))
