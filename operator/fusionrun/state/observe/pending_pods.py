"""Why pods of a workload do not run, as reported by the scheduler, the kubelet or Kueue."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from fusionrun.api.contract import Manifest
from fusionrun.api.status.conditions import Reason
from fusionrun.state.observe.kueue import GATE, KueueWorkloads, is_gated, queue_text
from fusionrun.state.observe.object_fields import (
    JOBS,
    container_statuses,
    ended_containers,
    has_ended,
    is_deleting,
    is_pod_of,
    is_suspended,
    parse_time,
    pod_ended,
    pod_phase,
)
from fusionrun.state.observe.workloads import Workload, pods_succeeded

PENDING_GRACE = timedelta(seconds=30)
"""Time for which pods may be pending before the run reports it. A normal start is shorter."""
EVENTS_AGE = PENDING_GRACE - timedelta(seconds=2)
"""Age of an object from which its events are read. It is created up to two seconds after the start of its stage, from
which ``PENDING_GRACE`` counts; otherwise the first check would be too early, and the next one a minute later."""
CHECK_SECONDS = 60.0
"""Time between two checks of pods that have been pending for more than ``PENDING_GRACE``."""
PENDING_CHARACTERS = 400
STARTING = ("ContainerCreating", "PodInitializing")
"""Waiting reasons of a container that the kubelet is starting."""
UNPLACED = ("Unschedulable", GATE)
"""Reasons of a pod that has no node."""
CERTAIN = (Reason.SECRET_MISSING, Reason.OBJECT_CHANGED)
"""Reasons that are no part of a normal start: the run reports them at once."""
NO_POD = "no pod is running yet"
_STARTING_RANK = 3
"""Rank of a starting container, the least serious reason. Rank 0 is an error, 1 a suspension or a volume warning, 2 a
pod without a node."""


class _Cause(NamedTuple):
    """A reason for which a pod waits. The one with the lowest rank is reported."""

    rank: int
    text: str
    reason: Reason = Reason.PODS_PENDING


@dataclass(frozen=True)
class PendingPods:
    """The pods of a workload that do not run."""

    running: bool
    """Whether at least one pod of the workload runs, or ended less than ``PENDING_GRACE`` ago."""
    message: str | None
    """The most serious reason for which a pod waits; None if no pod waits, or if no reason is known."""
    since: datetime
    reason: Reason = Reason.PODS_PENDING
    """``Queued`` if Kueue has not admitted the pods, ``SecretMissing`` if a pod cannot start without a Secret."""
    between: bool = False
    """Whether all pods have ended, the last one less than ``PENDING_GRACE`` ago: the next one is not created yet."""

    @property
    def is_relevant(self) -> bool:
        """Whether a pod waits, or may wait later without another event."""
        return bool(self.message) or not self.running or self.between


def pending_pods(workload: Workload, now: datetime) -> PendingPods:
    """Return why the pods of a workload that has not ended wait."""
    waiting = [pod for pod in workload.pods if pod_phase(pod) in ("Pending", "")]
    since = _since(workload, waiting) or now
    alive = [pod for pod in workload.pods if not pod_ended(pod)]
    between = not alive and bool(workload.pods) and now - since < PENDING_GRACE
    causes = [cause for pod in workload.pods for cause in _pod_causes(pod, workload.warnings, workload.kueue)]
    if not between:
        causes += _workload_causes(workload)
    _, message, reason = min(causes, default=_Cause(0, ""))
    running = between or any(pod_phase(pod) == "Running" for pod in alive)
    text = message[:PENDING_CHARACTERS] or (None if running else NO_POD)
    return PendingPods(running, text, since, reason, between=between)


def is_queued(workload: Workload) -> bool:
    """Return whether a workload waits in a queue, or is suspended: its pods are not meant to run now."""
    return is_suspended(workload.manifest) or any(is_gated(pod) for pod in workload.pods)


def overdue(pending: Mapping[str, PendingPods], now: datetime) -> tuple[dict[str, PendingPods], float | None]:
    """Return the stages whose pods have been pending for longer than a normal start, and the seconds to the next check.

    Events are not watched, so an event with the reason is only found by another check.
    """
    certain = {stage: pods for stage, pods in pending.items() if pods.reason in CERTAIN}
    pending = {stage: pods for stage, pods in pending.items() if stage not in certain}
    left = {stage: (pods.since + PENDING_GRACE - now).total_seconds() for stage, pods in pending.items()}
    checks = [seconds if seconds > 0 else CHECK_SECONDS for seconds in left.values()]
    late = {stage: pods for stage, pods in pending.items() if left[stage] <= 0}
    return certain | late, min(checks, default=None)


def unexplained(children: Sequence[Manifest], now: datetime) -> list[Manifest]:
    """Return the objects of a run for which only an event may have the reason why no pod runs.

    These are Jobs, PyTorchJobs and TrainJobs without a pod, and pods on a node whose containers do not start. A Job
    whose pods have succeeded needs no other pod.
    """
    every = [c for c in children if c["kind"] == "Pod"]
    alive = [pod for pod in every if not pod_ended(pod)]
    pods = [pod for pod in alive if pod_phase(pod) == "Pending" and (pod.get("spec") or {}).get("nodeName")]
    starting = [pod for pod in pods if all(cause.rank == _STARTING_RANK for cause in _pod_causes(pod, {}, {}))]
    jobs = [c for c in children if c["kind"] in JOBS and not is_suspended(c) and not has_ended(c)]
    without_pods = [job for job in jobs if _lacks_a_pod(job, [pod for pod in every if is_pod_of(pod, job)])]
    created = [(m, parse_time(m["metadata"].get("creationTimestamp"))) for m in (*starting, *without_pods)]
    return [m for m, at in created if at and not is_deleting(m) and now - at >= EVENTS_AGE]


def _lacks_a_pod(job: Manifest, pods: Sequence[Manifest]) -> bool:
    return all(map(pod_ended, pods)) and not pods_succeeded(job, pods)


def _since(workload: Workload, waiting: list[Manifest]) -> datetime | None:
    """Return when the oldest waiting pod was created; without one, when the last pod ended or the workload started."""
    created = [at for pod in waiting if (at := parse_time(pod["metadata"].get("creationTimestamp")))]
    if created:
        return min(created)
    ended = [] if waiting else [at for pod in workload.pods for at in _end_times(pod)]
    return max(ended, default=workload.started)


def _end_times(pod: Manifest) -> Iterator[datetime]:
    for terminated in ended_containers(pod):
        if ended := parse_time(terminated.get("finishedAt")):
            yield ended


def _workload_causes(workload: Workload) -> Iterator[_Cause]:
    """Yield each cause that the workload itself reports; rank 0 is the most serious."""
    manifest = workload.manifest
    uid, name = manifest["metadata"].get("uid", ""), manifest["metadata"]["name"]
    for condition in (manifest.get("status") or {}).get("conditions") or []:
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            yield _Cause(0, f"{condition.get('reason')}: {condition.get('message', '')}")
    if is_suspended(manifest):
        queued = queue_text(manifest, workload.kueue)
        text = f"{manifest['kind']} {name} is suspended: {queued or 'its suspend field is true'}"
        yield _Cause(1, text, Reason.QUEUED if queued else Reason.PODS_PENDING)
    elif (manifest.get("spec") or {}).get("parallelism") == 0:
        yield _Cause(1, f"Job {name} was scaled to 0 pods: set its spec.parallelism again, or delete the Job")
    elif uid in workload.warnings:
        yield _Cause(0, f"{manifest['kind']} {name}: {workload.warnings[uid]}")


def _pod_causes(pod: Manifest, warnings: Mapping[str, str], kueue: KueueWorkloads) -> Iterator[_Cause]:
    """Yield each cause for which a pod does not run, or crashed."""
    status = pod.get("status") or {}
    if pod_ended(pod):
        return
    name = f"pod {pod['metadata']['name']}"
    for container in container_statuses(pod, init=True):
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in STARTING and (warning := warnings.get(pod["metadata"].get("uid", ""))):
            yield _Cause(1, f"{name}: {warning}")
        elif waiting.get("reason") in STARTING:
            started = status.get("startTime") or "a moment ago"
            yield _Cause(_STARTING_RANK, f"{name}: {waiting['reason']} since {started}")
        elif waiting.get("reason"):
            yield _Cause(0, f"{name}: {waiting['reason']}: {waiting.get('message', '')}")
    for condition in status.get("conditions") or []:
        if condition.get("reason") in UNPLACED:
            queued = queue_text(pod, kueue) if condition["reason"] == GATE else ""
            text = f"{name}: {condition['reason']}: {queued or condition.get('message', '')}"
            yield _Cause(2, text, Reason.QUEUED if queued else Reason.PODS_PENDING)
