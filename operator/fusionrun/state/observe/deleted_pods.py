"""Whether an attempt of training has a deleted pod, so that all its pods must start again.

The processes of a training wait for each other in every step. A pod that was deleted (a drain, an eviction through the
API, a preemption, a lost node) cannot join again, even if its controller replaces it, and the others would use their
GPUs until a timeout.
"""

from datetime import datetime, timedelta

from fusionrun.api.contract import Manifest
from fusionrun.api.status.conditions import Reason
from fusionrun.state.observe.failures import Failure
from fusionrun.state.observe.object_fields import container_statuses, is_deleting, is_suspended, parse_time, pod_phase
from fusionrun.state.observe.workloads import Workload

REPLACED_AFTER = timedelta(seconds=60)
"""A pod that was created this long after another pod of the attempt had started replaces an earlier pod.

The controllers create all pods of an attempt within seconds. A quota that still counts the pods of the previous attempt
delays them until those are gone, which takes less than the grace period of a pod (30 s).
"""
RESTART = "all pods of the attempt start again, from the last checkpoint"


def deleted_pod(workload: Workload) -> Failure | None:
    """Return why an attempt that runs cannot continue: a pod was deleted or replaced; None if it can.

    A controller deletes pods as well: when the workload is suspended (Kueue), has failed or has ended. A pod that has
    succeeded or failed by itself shows the latter, before the workload does.
    """
    pods = _since_resumed(workload)
    if not workload.active or is_suspended(workload.manifest) or any(_ended_by_itself(pod) for pod in pods):
        return None
    if deleted := [pod for pod in pods if is_deleting(pod)]:
        first = min(deleted, key=lambda pod: str(pod["metadata"]["deletionTimestamp"]))
        return _failure(first, f"was deleted{_cause(first)}")
    starts = [started for pod in pods if (started := _started(pod))]
    for pod in pods:
        created = parse_time(pod["metadata"].get("creationTimestamp"))
        if created and starts and created - min(starts) >= REPLACED_AFTER:
            return _failure(pod, "replaces a pod that was deleted")
    return None


def _failure(pod: Manifest, text: str) -> Failure:
    name = pod["metadata"]["name"]
    return Failure(Reason.INFRASTRUCTURE_ERROR, f"pod {name} {text}: {RESTART}", name, disrupted=True)


def _since_resumed(workload: Workload) -> list[Manifest]:
    """Return the pods that were created since the workload was last resumed; those before may still be terminating."""
    conditions = (workload.manifest.get("status") or {}).get("conditions") or []
    resumed = [
        at
        for c in conditions
        if c["type"] == "Suspended" and c["status"] == "False" and (at := parse_time(c.get("lastTransitionTime")))
    ]
    if not resumed:
        return list(workload.pods)
    created = ((pod, parse_time(pod["metadata"].get("creationTimestamp"))) for pod in workload.pods)
    return [pod for pod, at in created if at is None or at >= max(resumed)]


def _ended_by_itself(pod: Manifest) -> bool:
    phase = pod_phase(pod)
    return phase == "Succeeded" or (phase == "Failed" and not is_deleting(pod))


def _started(pod: Manifest) -> datetime | None:
    """Return when the container of a pod started."""
    running = [(container.get("state") or {}).get("running") or {} for container in container_statuses(pod)]
    return min((at for state in running if (at := parse_time(state.get("startedAt")))), default=None)


def _cause(pod: Manifest) -> str:
    """Return who deleted a pod, as its controller reports it. Source: Kubernetes, "Pod disruption conditions"."""
    for condition in (pod.get("status") or {}).get("conditions") or []:
        if condition["type"] == "DisruptionTarget" and condition["status"] == "True":
            return f" ({condition.get('reason')}: {condition.get('message', '')})"
    return ""
