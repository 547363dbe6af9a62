"""What the pods of a workload wait for, as the scheduler, the kubelet or Kueue says it. It looks at every pod."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fusionrun.api.models import Manifest
from fusionrun.names import LABEL_QUEUE
from fusionrun.state.observe import Workload, made_by, parse_time, pod_ended

PENDING_GRACE = timedelta(seconds=30)
"""How long the pods of a stage may wait before the run reports it: a normal start takes less."""
AGAIN_SECONDS = 60.0
"""Time between two looks at what waits for longer."""
PENDING_CHARACTERS = 300
STARTING = ("ContainerCreating", "PodInitializing")
"""What the kubelet says of a container that it is about to start."""
GATED = "SchedulingGated"
UNPLACED = ("Unschedulable", GATED)
"""What the scheduler says of a pod that has no node."""
NO_POD = "no pod runs yet"
_STARTING_RANK = 3
"""How bad it is that a container is about to start: the least. Rank 0 is an error, 1 a suspension or a warning of a
volume, 2 a pod without a node."""


@dataclass(frozen=True)
class Pending:
    """What of a workload does not run."""

    running: bool
    """Whether at least one of its pods runs, or ran until a moment ago."""
    message: str | None
    """The most serious reason why a pod of it waits; None when no pod waits, or the reason is not known."""
    since: datetime
    """Since when."""
    between: bool = False
    """Whether a pod ended a moment ago and the next one is about to be made."""

    @property
    def is_news(self) -> bool:
        """Whether something waits, or may be found to wait later."""
        return bool(self.message) or not self.running or self.between


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
    since = _since(workload, waiting) or now
    alive = [pod for pod in workload.pods if not pod_ended(pod)]
    between = not alive and bool(workload.pods) and now - since < PENDING_GRACE
    texts = [text for pod in workload.pods for text in _of_a_pod(pod, workload.warnings)]
    if not between:
        texts += _of_the_workload(workload)
    message = min(texts)[1][:PENDING_CHARACTERS] if texts else None
    running = between or any(_phase(pod) == "Running" for pod in alive)
    return Pending(running, message if message or running else NO_POD, since, between)


def for_long(found: dict[str, Pending], now: datetime) -> tuple[dict[str, Pending], float | None]:
    """Return what has waited for longer than a start takes, and in how many seconds to look at all of it again."""
    left = {name: (each.since + PENDING_GRACE - now).total_seconds() for name, each in found.items()}
    # An event with the reason may be posted at any time, and events are not watched.
    again = [seconds if seconds > 0 else AGAIN_SECONDS for seconds in left.values()]
    return {name: each for name, each in found.items() if left[name] <= 0}, min(again, default=None)


def unexplained(children: Sequence[Manifest], now: datetime) -> list[Manifest]:
    """Return the objects of a run of which nothing but an event can say why no pod runs.

    They are Jobs and PyTorchJobs that have no pod, and pods on a node whose containers do not start.
    """
    alive = [c for c in children if c["kind"] == "Pod" and not pod_ended(c)]
    pods = [pod for pod in alive if _phase(pod) == "Pending" and (pod.get("spec") or {}).get("nodeName")]
    found = [pod for pod in pods if all(rank == _STARTING_RANK for rank, _ in _of_a_pod(pod, {}))]
    jobs = [c for c in children if c["kind"] in ("Job", "PyTorchJob") and not _is_suspended(c) and not _has_ended(c)]
    found += [job for job in jobs if not any(made_by(pod, job) for pod in alive)]
    return [m for m in found if not m["metadata"].get("deletionTimestamp") and now - _created(m, now) >= PENDING_GRACE]


def _created(manifest: Manifest, now: datetime) -> datetime:
    return parse_time(manifest["metadata"].get("creationTimestamp")) or now


def _is_suspended(manifest: Manifest) -> bool:
    spec = manifest.get("spec") or {}
    return bool(spec.get("suspend") or (spec.get("runPolicy") or {}).get("suspend"))


def _has_ended(manifest: Manifest) -> bool:
    conditions = (manifest.get("status") or {}).get("conditions") or []
    return any(c["type"] in ("Complete", "Succeeded", "Failed") and c["status"] == "True" for c in conditions)


def _phase(pod: Manifest) -> str:
    """Return a pod's phase; empty where its status has none yet."""
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
    """Yield the rank (0 is worst) and the text of what the workload itself says of its pods."""
    manifest = workload.manifest
    uid, name = manifest["metadata"].get("uid", ""), manifest["metadata"]["name"]
    for condition in (manifest.get("status") or {}).get("conditions") or []:
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            yield 0, f"{condition.get('reason')}: {condition.get('message', '')}"
    if _is_suspended(manifest):
        yield 1, f"{manifest['kind']} {name} is suspended: {_queue(manifest) or 'its spec says suspend: true'}"
    elif uid in workload.warnings:
        yield 0, f"{manifest['kind']} {name}: {workload.warnings[uid]}"


def _of_a_pod(pod: Manifest, warnings: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Yield the rank and the text of what Kubernetes says of a pod that does not run, or crashed."""
    status = pod.get("status") or {}
    if pod_ended(pod):
        return
    name = f"pod {pod['metadata']['name']}"
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waits = (container.get("state") or {}).get("waiting") or {}
        if waits.get("reason") in STARTING and (warning := warnings.get(pod["metadata"].get("uid", ""))):
            yield 1, f"{name}: {warning}"
        elif waits.get("reason") in STARTING:
            yield _STARTING_RANK, f"{name}: {waits['reason']} since {status.get('startTime') or 'a moment ago'}"
        elif waits.get("reason"):
            yield 0, f"{name}: {waits['reason']}: {waits.get('message', '')}"
    for condition in status.get("conditions") or []:
        if condition.get("reason") in UNPLACED:
            gated = _queue(pod) if condition["reason"] == GATED else ""
            yield 2, f"{name}: {condition['reason']}: {gated or condition.get('message', '')}"


def _queue(manifest: Manifest) -> str:
    """Say which LocalQueue holds an object back; empty for one that is in none."""
    queue = (manifest["metadata"].get("labels") or {}).get(LABEL_QUEUE)
    return f"Kueue has not admitted it through LocalQueue {queue!r}" if queue else ""
