"""Pods that a lost node keeps for ever, and when to give them up."""

from datetime import datetime, timedelta

from fusionrun.state.observe.live_objects import ObjectRef
from fusionrun.state.observe.observed import Observed, parse_time, pod_ended, ref_of

GIVEN_UP_AFTER = timedelta(seconds=300)
"""How long a pod may be overdue, its grace period over, before we take its node for lost.

As long again as Kubernetes waits for a node before it evicts its pods. Source: Kubernetes, "Taints and Tolerations":
``tolerationSeconds`` of 300 for not-ready and unreachable. Nobody else does it: ``podReplacementPolicy: Failed`` makes
the Job wait for the pod's end, which only the kubelet of the lost node could tell.
"""


def lost_pods(observed: Observed, now: datetime) -> tuple[list[ObjectRef], float | None]:
    """Return the pods to give up now, and in how many seconds the next one is due.

    Parameters
    ----------
    observed
        The run's own pods are those of its workloads.
    now
        The time, in UTC.

    Notes
    -----
    A pod that has ended is not lost, whatever still holds its object.
    """
    due: list[ObjectRef] = []
    later: list[float] = []
    pods = [p for seen in observed.stages.values() for workload in seen.workloads for p in workload.pods]
    for pod in pods:
        overdue_since = parse_time(pod["metadata"].get("deletionTimestamp"))
        if overdue_since is None or pod_ended(pod):
            continue
        left = (overdue_since + GIVEN_UP_AFTER - now).total_seconds()
        if left <= 0:
            due.append(ref_of(pod))
        else:
            later.append(left)
    return due, min(later, default=None)
