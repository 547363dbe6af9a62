"""Pods on a lost node, which never end by themselves, and when to force-delete them."""

from datetime import datetime, timedelta

from fusionrun.state.observe.object_fields import parse_time, pod_ended
from fusionrun.state.observe.object_ref import ObjectRef, ref_of
from fusionrun.state.observe.observed import Observed

FORCE_DELETE_AFTER = timedelta(seconds=300)
"""How long a pod may remain after its grace period before its node counts as lost.

The same time for which Kubernetes waits for a node before it evicts its pods. Source: Kubernetes, "Taints and
Tolerations": ``tolerationSeconds`` of 300 for not-ready and unreachable. No other controller deletes these pods:
under ``podReplacementPolicy: Failed`` the Job waits for the end of the pod, which only the kubelet of the lost node
could report.
"""


def lost_pods(observed: Observed, now: datetime) -> tuple[list[ObjectRef], float | None]:
    """Return the pods to force-delete now, and in how many seconds the next one is due.

    Parameters
    ----------
    observed
        The objects of the run.
    now
        The time, in UTC.

    Notes
    -----
    A pod that has ended is not lost, even if a finalizer keeps its object.
    """
    due: list[ObjectRef] = []
    later: list[float] = []
    pods = [p for stage in observed.stages.values() for workload in stage.workloads for p in workload.pods]
    for pod in pods:
        deadline = parse_time(pod["metadata"].get("deletionTimestamp"))
        if deadline is None or pod_ended(pod):
            continue
        left = (deadline + FORCE_DELETE_AFTER - now).total_seconds()
        if left <= 0:
            due.append(ref_of(pod))
        else:
            later.append(left)
    return due, min(later, default=None)
