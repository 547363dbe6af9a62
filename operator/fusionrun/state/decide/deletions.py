"""Objects that are deleted after a time: pods on a lost node, and the objects of a finished run."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from fusionrun.api.spec.run import DEFAULT_TTL_SECONDS, FAILED_STAGE_TTL_FACTOR
from fusionrun.api.status.run import FusionRunStatus
from fusionrun.api.status.stages import StageState
from fusionrun.state.observe.live_objects import LiveObjects
from fusionrun.state.observe.object_fields import is_deleting, parse_time, pod_ended, stage_of
from fusionrun.state.observe.object_ref import ObjectRef, ref_of
from fusionrun.state.observe.observed import Observed

FORCE_DELETE_AFTER = timedelta(seconds=300)
"""How long a pod may remain after its grace period before its node counts as lost.

Kubernetes waits for the same time before it evicts the pods of a node. Source: Kubernetes, "Taints and Tolerations":
``tolerationSeconds`` of 300 for not-ready and unreachable. No other controller deletes these pods: with
``podReplacementPolicy: Failed`` the Job waits until the pod has ended, and only the kubelet of the lost node could
report that.
"""

_KEPT_KINDS = ("Pod", "NetworkPolicy")


def lost_pods(observed: Observed, now: datetime) -> tuple[list[ObjectRef], float | None]:
    """Return the pods to force-delete now, and in how many seconds the next one is due.

    A pod that has ended is not lost, even if a finalizer keeps its object. A lost pod whose workload was deleted counts
    as one that holds GPUs: without its deletion the next attempt could wait for them forever.
    """
    stages = observed.stages.values()
    pods = [p for stage in stages for p in (*(p for workload in stage.workloads for p in workload.pods), *stage.left)]
    deadlines = ((pod, parse_time(pod["metadata"].get("deletionTimestamp"))) for pod in pods if not pod_ended(pod))
    return _due(((ref_of(pod), deadline + FORCE_DELETE_AFTER) for pod, deadline in deadlines if deadline), now)


def expired(live: LiveObjects, status: FusionRunStatus, now: datetime) -> tuple[list[ObjectRef], float | None]:
    """Return the objects of a finished run to delete now, and in how many seconds the next one is due.

    Pods are deleted with the workload that owns them. NetworkPolicies stay until the run is deleted: they isolate pods
    that are still terminating, or that run on a lost node. The ConfigMaps of the run itself (``RUN-spec`` and
    ``RUN-resolved``) stay as well: they record its defaults, images and inputs.
    """
    ended = parse_time(status.completion_time)
    if ended is None:
        return [], None
    ttl = live.run["spec"].get("ttlSecondsAfterFinished")
    keep = timedelta(seconds=DEFAULT_TTL_SECONDS if ttl is None else ttl)
    failed = {stage.name for stage in status.stages if stage.state is StageState.FAILED}
    times = (
        (ref_of(child), ended + keep * (FAILED_STAGE_TTL_FACTOR if stage_of(child) in failed else 1))
        for child in live.children
        if child["kind"] not in _KEPT_KINDS
        and not (child["kind"] == "ConfigMap" and stage_of(child) is None)
        and not is_deleting(child)
    )
    return _due(times, now)


def _due(times: Iterable[tuple[ObjectRef, datetime]], now: datetime) -> tuple[list[ObjectRef], float | None]:
    left = {ref: (time - now).total_seconds() for ref, time in times}
    return [ref for ref, seconds in left.items() if seconds <= 0], min(
        (s for s in left.values() if s > 0), default=None
    )
