"""One attempt of a stage: its Job, PyTorchJob, TrainJob or Deployment, and the pods that it created."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from fusionrun.api.models import Manifest
from fusionrun.api.pod import COMPLETION_INDEX_ANNOTATION
from fusionrun.api.result import StageResult, decode_result
from fusionrun.names import LABEL_COMPONENT
from fusionrun.state.observe.failures import Failure, explain, explain_early
from fusionrun.state.observe.kueue import KueueWorkloads
from fusionrun.state.observe.object_fields import (
    attempt_of,
    ended_containers,
    is_deleting,
    parse_time,
    pod_ended,
    pod_phase,
)
from fusionrun.state.observe.object_ref import ObjectRef, ref_of
from fusionrun.state.observe.server_failures import server_failure


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
    def active(self) -> bool:
        """Whether it has running pods, or may still get some."""
        return self.phase in (Phase.RUNNING, Phase.READY)

    @property
    def holds_pods(self) -> bool:
        """Whether it must be deleted to stop its pods: it is active, or it is a failed server."""
        return self.active or (self.phase is Phase.FAILED and self.is_server)

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
        failure = explain(pods, log_tails)
    elif manifest["kind"] == "Job":
        failure = explain_early(pods, log_tails, manifest["spec"]["backoffLimit"])
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


def _has_node(pod: Manifest) -> bool:
    return bool((pod.get("spec") or {}).get("nodeName"))


def _server_phase(manifest: Manifest, pods: list[Manifest], log_tails: dict[str, str]) -> tuple[Phase, Failure | None]:
    if int((manifest.get("status") or {}).get("readyReplicas") or 0) > 0:
        return Phase.READY, None
    failure = server_failure(manifest, pods, log_tails)
    return Phase.FAILED if failure else Phase.RUNNING, failure


def _results(pods: Iterable[Manifest]) -> Iterator[StageResult]:
    """Yield the results of succeeded pods; of several pods with the same completion index, only the first result."""
    shards: set[str] = set()
    for pod in pods:
        index = pod["metadata"].get("annotations", {}).get(COMPLETION_INDEX_ANNOTATION, pod["metadata"]["name"])
        if pod_phase(pod) != "Succeeded" or index in shards:
            continue
        kind = pod["metadata"].get("labels", {}).get(LABEL_COMPONENT, "")
        for terminated in ended_containers(pod):
            result = decode_result(terminated.get("message") or "", kind)
            if result is not None:
                shards.add(index)
                yield result
