"""Fields of Kubernetes objects that several modules read, and timestamps."""

import re
from collections.abc import Iterator
from datetime import datetime

from fusionrun.api.contract import Manifest
from fusionrun.api.status.conditions import ConditionStatus, ConditionType
from fusionrun.names import LABEL_ATTEMPT, LABEL_STAGE, stage_from_label

_DIGITS = re.compile("[0-9]{1,5}")
JOBS = ("Job", "PyTorchJob", "TrainJob")
"""Kinds of workloads that end. Kueue and others suspend them."""
WORKLOADS = (*JOBS, "Deployment")
"""Kinds of the objects that create pods."""


def parse_time(text: str | None) -> datetime | None:
    """Read a Kubernetes timestamp."""
    return datetime.fromisoformat(text) if text else None


def format_time(time: datetime) -> str:
    """Write a time in UTC as a Kubernetes timestamp, in whole seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def is_finished(run: Manifest) -> bool:
    """Return whether a run has finished, successfully or not."""
    conditions = (run.get("status") or {}).get("conditions")
    items = [c for c in conditions if isinstance(c, dict)] if isinstance(conditions, list) else []
    return any(c.get("type") == ConditionType.FINISHED and c.get("status") == ConditionStatus.TRUE for c in items)


def is_deleting(manifest: Manifest) -> bool:
    """Return whether the deletion of an object has been requested."""
    return bool(manifest["metadata"].get("deletionTimestamp"))


def is_suspended(workload: Manifest) -> bool:
    """Return whether a workload is suspended: Kueue does that until it admits it, and if it preempts it."""
    spec = workload.get("spec") or {}
    return bool(spec.get("suspend") or (spec.get("runPolicy") or {}).get("suspend"))


def stage_of(manifest: Manifest) -> str | None:
    """Return the stage that an object belongs to; None for an object of the whole run."""
    label = manifest["metadata"].get("labels", {}).get(LABEL_STAGE)
    return stage_from_label(label) if label else None


def attempt_of(manifest: Manifest) -> int:
    """Return the attempt of the stage that an object belongs to; 0 if somebody has changed its label to another text.

    The number is bounded: a label has up to 63 digits, and the names of objects contain it.
    """
    text = manifest["metadata"].get("labels", {}).get(LABEL_ATTEMPT, "0")
    return int(text) if _DIGITS.fullmatch(text) else 0


def is_pod_of(pod: Manifest, workload: Manifest) -> bool:
    """Return whether a workload created a pod. Pods of a deleted run of the same name have the same labels."""
    return bool(pod["metadata"]["name"].startswith(f"{workload['metadata']['name']}-"))


def has_ended(manifest: Manifest) -> bool:
    """Return whether a Job, a PyTorchJob or a TrainJob has succeeded or failed."""
    return any(map(is_end, (manifest.get("status") or {}).get("conditions") or []))


def completions(job: Manifest) -> int:
    """Return the number of pods of a Job that must succeed."""
    return int((job.get("spec") or {}).get("completions") or 1)


def completed_at(manifest: Manifest) -> str:
    """Return the time at which a Job or a PyTorchJob succeeded, or an empty text."""
    return str((manifest.get("status") or {}).get("completionTime") or "")


def is_end(condition: Manifest) -> bool:
    """Return whether a condition says that a Job, a PyTorchJob or a TrainJob has ended."""
    return condition["type"] in ("Complete", "Succeeded", "Failed") and condition["status"] == "True"


def pod_phase(pod: Manifest) -> str:
    """Return the phase of a pod; empty if its status has none yet."""
    return str((pod.get("status") or {}).get("phase") or "")


def pod_ended(pod: Manifest) -> bool:
    """Return whether all containers of a pod have ended."""
    return pod_phase(pod) in ("Succeeded", "Failed")


def container_statuses(pod: Manifest, *, init: bool = False) -> list[Manifest]:
    """Return the statuses of a pod's containers; with ``init`` those of its init containers come first."""
    status = pod.get("status") or {}
    return [*((status.get("initContainerStatuses") or []) if init else []), *(status.get("containerStatuses") or [])]


def ended_containers(pod: Manifest) -> Iterator[Manifest]:
    """Yield the ``terminated`` state of each container that has ended."""
    for container in container_statuses(pod):
        if terminated := (container.get("state") or {}).get("terminated"):
            yield terminated


def failed_init_containers(pod: Manifest) -> Iterator[Manifest]:
    """Yield the ``terminated`` state of each init container that failed. The other containers do not start then."""
    for container in (pod.get("status") or {}).get("initContainerStatuses") or []:
        terminated = (container.get("state") or {}).get("terminated")
        if terminated and terminated.get("exitCode"):
            yield terminated
