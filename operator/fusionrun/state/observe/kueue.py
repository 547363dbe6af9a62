"""What Kueue reports about the objects that it queues, and which objects it ignores.

Kueue makes a Workload for each Job, PyTorchJob, TrainJob and pod of a Deployment that has the label of a LocalQueue. It
suspends the Job, or gates the pod, until it admits the Workload. If its configuration does not list the kind, or
excludes the namespace, it ignores the label. Workloads are not watched: those of objects that wait, or that may be
ignored, are looked up (``cluster.kueue_workloads``).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from fusionrun.api.contract import Manifest
from fusionrun.names import LABEL_QUEUE, LABEL_QUEUE_MANAGED
from fusionrun.state.observe.object_fields import (
    JOBS,
    has_ended,
    is_deleting,
    is_suspended,
    parse_time,
    pod_ended,
    stage_of,
)

IGNORED_AFTER = timedelta(seconds=30)
"""Time for which an object with the label of a queue may have neither been suspended nor have a Workload.

Kueue suspends a Job when it is created. If its webhook was not called, its controller suspends the Job within seconds.
"""
GATE = "SchedulingGated"
"""Reason of the condition PodScheduled of a pod with a scheduling gate."""

_FRAMEWORKS = {
    "Job": "batch/job",
    "PyTorchJob": "kubeflow.org/pytorchjob",
    "TrainJob": "trainer.kubeflow.org/trainjob",
    "Deployment": "deployment and pod",
}
"""Names of the integrations in Kueue's configuration. Source: Kueue, ``integrations.frameworks``."""

KueueWorkloads = Mapping[str, Manifest | None]
"""Kueue's Workload of each object that was looked up, by the UID of the object; None if it has none."""


def queue_of(manifest: Manifest) -> str:
    """Return the LocalQueue of an object; empty if it is in none."""
    return str((manifest["metadata"].get("labels") or {}).get(LABEL_QUEUE) or "")


def looked_up(children: Sequence[Manifest], now: datetime) -> list[Manifest]:
    """Return the objects of a run whose Workloads are read.

    These are suspended Jobs, one gated pod of each stage (that which the stage reports: the first by name), and Jobs
    that Kueue has not suspended in ``IGNORED_AFTER``.
    """
    queued = [c for c in children if queue_of(c) and not is_deleting(c) and not has_ended(c)]
    gated = [c for c in queued if c["kind"] == "Pod" and is_gated(c)]
    pods = {stage_of(pod): pod for pod in sorted(gated, key=lambda pod: str(pod["metadata"]["name"]), reverse=True)}
    jobs = [c for c in queued if _can_be_suspended(c)]
    return [*(job for job in jobs if is_suspended(job) or _is_unconfirmed(job, now)), *pods.values()]


def seconds_to_look_up(manifest: Manifest, now: datetime) -> float | None:
    """Return after which time the Workload of an object must be looked up; None if it need not or may be already."""
    created = parse_time(manifest["metadata"].get("creationTimestamp"))
    if not queue_of(manifest) or not _can_be_suspended(manifest) or created is None or _was_suspended(manifest):
        return None
    left = (created + IGNORED_AFTER - now).total_seconds()
    return left if left > 0 else None


def ignored(manifest: Manifest, pods: Sequence[Manifest], workloads: KueueWorkloads) -> str:
    """Return what to do about an object that has the label of a queue and is not queued; empty if it is queued."""
    queue, kind = queue_of(manifest), manifest["kind"]
    if not queue:
        return ""
    if kind == "Deployment":  # each of its pods is queued
        alive = [pod for pod in pods if not pod_ended(pod)]
        is_ignored = not all((pod["metadata"].get("labels") or {}).get(LABEL_QUEUE_MANAGED) for pod in alive)
    else:
        uid = manifest["metadata"].get("uid", "")
        is_ignored = not _was_suspended(manifest) and uid in workloads and workloads[uid] is None
    if not is_ignored:
        return ""
    framework = _FRAMEWORKS.get(kind, kind)
    return (
        f"Kueue ignores {kind} {manifest['metadata']['name']}, which has the label of LocalQueue {queue!r}: its pods "
        f"run outside the quota: add {framework} to integrations.frameworks in the configuration of Kueue, and check "
        "its managedJobsNamespaceSelector; or remove the queue from spec.scheduling"
    )


def queue_text(manifest: Manifest, workloads: KueueWorkloads) -> str:
    """Return which LocalQueue an object waits in, and what Kueue reports about it; empty if it is in none."""
    queue = queue_of(manifest)
    if not queue:
        return ""
    text = f"waiting for admission by Kueue in LocalQueue {queue!r}"
    workload = workloads.get(manifest["metadata"].get("uid", ""))
    report = _report(workload) if workload else ""
    return f"{text}: {report}" if report else text


def _report(workload: Manifest) -> str:
    """Return what the conditions of a Workload say about why it is not admitted."""
    status = workload.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or []}
    evicted = _text(conditions.get("Evicted"), "True")
    if (workload.get("spec") or {}).get("active") is False:
        name = workload["metadata"]["name"]
        text = f"Kueue has deactivated Workload {name}: set its field spec.active to true to queue it again"
        return f"{text}; {evicted}" if evicted else text
    waits = _text(conditions.get("QuotaReserved"), "False")
    if not waits and "QuotaReserved" in conditions:
        checks = [c for c in status.get("admissionChecks") or [] if c.get("state") != "Ready"]
        listed = [f"admission check {c.get('name')}: {c.get('state')}: {c.get('message', '')}" for c in checks]
        waits = "; ".join(listed) or _text(conditions.get("Admitted"), "False")
    last = (conditions.get("Evicted") or {}).get("message") or evicted
    return "; ".join(part for part in (waits, "" if last in waits else evicted) if part)


def _text(condition: dict[str, Any] | None, status: str) -> str:
    """Return reason and message of a condition that has this status; else an empty string."""
    if condition is None or condition.get("status") != status:
        return ""
    return f"{condition.get('reason')}: {condition.get('message', '')}"


def is_gated(pod: Manifest) -> bool:
    """Return whether a pod has a scheduling gate."""
    return any(c.get("reason") == GATE for c in (pod.get("status") or {}).get("conditions") or [])


def _can_be_suspended(manifest: Manifest) -> bool:
    return manifest["kind"] in JOBS


def _was_suspended(manifest: Manifest) -> bool:
    """Return whether a Job is or was suspended: the condition stays, with status False, when the Job continues.

    Sources: Kubernetes, pkg/controller/job (JobSuspended); kubeflow/training-operator v1.9, pkg/util (JobSuspended);
    kubeflow/trainer, pkg/controller (TrainJobSuspended).
    """
    conditions = (manifest.get("status") or {}).get("conditions") or []
    return is_suspended(manifest) or any(c["type"] == "Suspended" for c in conditions)


def _is_unconfirmed(job: Manifest, now: datetime) -> bool:
    created = parse_time(job["metadata"].get("creationTimestamp"))
    return created is not None and now - created >= IGNORED_AFTER and not _was_suspended(job)
