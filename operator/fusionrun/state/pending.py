"""What the pods of a workload wait for, as the scheduler, the kubelet or Kueue says it. It looks at every pod."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from fusionrun.api.models import Manifest
from fusionrun.objects.meta import QUEUE_LABEL
from fusionrun.state.observe import Workload, parse_time

PENDING_GRACE = timedelta(seconds=30)
"""Waiting for less long is a stage's normal start: it is no news for the run."""
PENDING_CHARACTERS = 300
STARTING = ("ContainerCreating", "PodInitializing")
"""What the kubelet says of a container that it is about to start."""
GATED = "SchedulingGated"
UNPLACED = ("Unschedulable", GATED)
"""What the scheduler says of a pod that has no node."""
NO_POD = "no pod runs yet"


@dataclass(frozen=True)
class Pending:
    """What of a workload does not run."""

    running: bool
    """Whether at least one of its pods runs, or ran until a moment ago."""
    message: str | None
    """What the pod waits for that is worst off; None when none waits, or nothing is known of it."""
    since: datetime
    """Since when."""


def pending(workload: Workload, now: datetime) -> Pending:
    """Return what a workload's pods wait for.

    Parameters
    ----------
    workload
        A workload that has not ended.
    now
        The time, in UTC.
    """
    waiting = [pod for pod in workload.pods if _phase(pod) in ("Pending", "")]
    texts = sorted([*_of_the_workload(workload), *(text for pod in workload.pods for text in _of_a_pod(pod))])
    message = texts[0][1][:PENDING_CHARACTERS] if texts else None
    since = _since(workload, waiting) or now
    between_two_pods = not waiting and bool(workload.pods) and now - since < PENDING_GRACE
    running = between_two_pods or any(_phase(pod) == "Running" for pod in workload.pods)
    return Pending(running, message if message or running else NO_POD, since)


def _phase(pod: Manifest) -> str:
    """Return a pod's phase; empty before anybody has taken note of it."""
    return str((pod.get("status") or {}).get("phase") or "")


def _since(workload: Workload, waiting: list[Manifest]) -> datetime | None:
    """Return since when the oldest pod waits; without one since the last pod ended, or since the workload is there."""
    made = [at for pod in waiting if (at := parse_time(pod["metadata"].get("creationTimestamp")))]
    if made:
        return min(made)
    ended = [] if waiting else [at for pod in workload.pods for at in _ends(pod)]
    return max(ended, default=workload.started)


def _ends(pod: Manifest) -> Iterator[datetime]:
    for container in (pod.get("status") or {}).get("containerStatuses") or []:
        ended = parse_time(((container.get("state") or {}).get("terminated") or {}).get("finishedAt"))
        if ended:
            yield ended


def _of_the_workload(workload: Workload) -> Iterator[tuple[int, str]]:
    """Yield how bad it is (0 is worst) and what the workload itself says of its pods."""
    manifest = workload.manifest
    spec = manifest.get("spec") or {}
    for condition in (manifest.get("status") or {}).get("conditions") or []:
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            yield 0, f"{condition.get('reason')}: {condition.get('message', '')}"
    if spec.get("suspend") or (spec.get("runPolicy") or {}).get("suspend"):
        why = _queue(manifest) or "its spec says suspend: true"
        yield 1, f"{manifest['kind']} {manifest['metadata']['name']} is suspended: {why}"


def _of_a_pod(pod: Manifest) -> Iterator[tuple[int, str]]:
    """Yield how bad it is and what Kubernetes says of a pod that does not run, or not any more."""
    status = pod.get("status") or {}
    if _phase(pod) in ("Succeeded", "Failed"):
        return
    name = f"pod {pod['metadata']['name']}"
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waits = (container.get("state") or {}).get("waiting") or {}
        if waits.get("reason") in STARTING:
            yield 3, f"{name}: {waits['reason']} since {status.get('startTime') or 'a moment ago'}"
        elif waits.get("reason"):
            yield 0, f"{name}: {waits['reason']}: {waits.get('message', '')}"
    for condition in status.get("conditions") or []:
        if condition.get("reason") in UNPLACED:
            gated = _queue(pod) if condition["reason"] == GATED else ""
            yield 2, f"{name}: {condition['reason']}: {gated or condition.get('message', '')}"


def _queue(manifest: Manifest) -> str:
    """Say which LocalQueue holds an object back; empty for one that is in none."""
    queue = (manifest["metadata"].get("labels") or {}).get(QUEUE_LABEL)
    return f"Kueue has not admitted it through LocalQueue {queue!r}" if queue else ""
