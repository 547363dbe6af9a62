"""Pods that hold GPUs: from their binding to a node until all their containers have ended.

All times come from the objects of the API server, not from the clock of the operator.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fusionrun.api.contract import Manifest
from fusionrun.api.status.run import FusionRunStatus
from fusionrun.plan.gpus import devices
from fusionrun.state.observe.object_fields import attempt_of, container_statuses, is_deleting, parse_time, pod_ended


@dataclass(frozen=True)
class GpuPod:
    """A pod, with its devices."""

    uid: str
    attempt: int
    bound: datetime | None
    """Time at which the scheduler bound it to a node; None before that."""
    running: bool
    """Whether it has not ended: once bound, it holds its devices, also while it terminates."""
    ended: datetime | None
    """Time at which it ended; None if it has not, or if no field has the time."""
    latest: datetime | None
    """Latest time in its object, which is in the past."""
    deleting: bool
    devices: Mapping[str, int]
    """Extended resources; empty for a pod of a finished run, of which the store keeps little."""
    node_selector: Mapping[str, str]


def gpu_pod(pod: Manifest) -> GpuPod:
    """Read a pod."""
    bound, running, spec = _bound(pod), not pod_ended(pod), pod.get("spec") or {}
    return GpuPod(
        uid=pod["metadata"].get("uid") or pod["metadata"]["name"],
        attempt=attempt_of(pod),
        bound=bound,
        running=running,
        ended=None if running else _ended(pod, bound),
        latest=max(_times(pod), default=None),
        deleting=is_deleting(pod),
        devices=_devices(spec),
        node_selector=spec.get("nodeSelector") or {},
    )


def recorded_uids(status: FusionRunStatus) -> frozenset[str]:
    """Return the UIDs of the pods that hold GPUs by the status of a run.

    A pod outlives its workload by its grace period. Its labels may be forged, but not its UID.
    """
    return frozenset(pod.uid for s in status.stages if s.gpu_usage for pod in s.gpu_usage.pods)


def has_devices(pod: Manifest) -> bool:
    """Return whether a container of a pod has extended resources."""
    return bool(_devices(pod.get("spec") or {}))


def _devices(spec: Mapping[str, Any]) -> dict[str, int]:
    total: dict[str, int] = {}
    for container in spec.get("containers") or []:
        for name, count in devices((container.get("resources") or {}).get("limits")).items():
            total[name] = total.get(name, 0) + count
    return total


def _bound(pod: Manifest) -> datetime | None:
    """Return when a pod was bound: by its condition ``PodScheduled``, or else by the kubelet, shortly after."""
    status = pod.get("status") or {}
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled":
            return parse_time(condition.get("lastTransitionTime")) if condition["status"] == "True" else None
    return parse_time(status.get("startTime"))


def _ended(pod: Manifest, bound: datetime | None) -> datetime | None:
    """Return when the last container of an ended pod ended.

    A pod that was evicted before its containers started, or whose node was lost, has no such time: then its conditions
    changed when it failed.
    """
    finished = [time for time in _finished(pod) if bound is None or time >= bound]
    return max(finished or list(_transitions(pod)) or _times(pod), default=None)


def _finished(pod: Manifest) -> Iterator[datetime]:
    for container in container_statuses(pod, init=True):
        for state in ("state", "lastState"):
            if time := parse_time(((container.get(state) or {}).get("terminated") or {}).get("finishedAt")):
                yield time


def _transitions(pod: Manifest) -> Iterator[datetime]:
    for condition in (pod.get("status") or {}).get("conditions") or []:
        if time := parse_time(condition.get("lastTransitionTime")):
            yield time


def _times(pod: Manifest) -> Iterator[datetime]:
    if time := parse_time((pod.get("status") or {}).get("startTime")):
        yield time
    yield from _finished(pod)
    yield from _transitions(pod)
