"""Whether another attempt of a failed stage follows, when, and which nodes it avoids.

The numbers are in the status of the stage, so a restart of the operator changes nothing. ``retryTime`` is set from the
end of a failed attempt to the start of the next one: a failure is counted when it is set, and so only once.
"""

from datetime import datetime, timedelta
from typing import Any

from fusionrun.api.status.conditions import Reason
from fusionrun.api.status.stages import StageStatus
from fusionrun.plan.stages import Stage
from fusionrun.state.decide.context import Context
from fusionrun.state.observe.failures import OUT_OF_MEMORY_RETRIES, Failure, checkpoint_step
from fusionrun.state.observe.object_fields import format_time, parse_time, pod_phase
from fusionrun.state.observe.server_failures import SHORT_LIFE
from fusionrun.state.observe.workloads import Phase, Workload
from fusionrun.state.report.stage_status import RETRY_FIELDS

FIRST_SECONDS = 10.0
"""Time to the first retry; it doubles with each further one."""
MAX_SECONDS = 360.0
"""Longest time to a retry. Source of both: Kubernetes, "Jobs", "Pod backoff failure policy"."""
AVOIDED_NODES_MAX = 3


def numbers_after(
    context: Context, stage: Stage, workload: Workload, failure: Failure, *, at_once: bool = False
) -> dict[str, Any]:
    """Return the fields on retries in the status of a stage after an attempt has failed; ``at_once``: without a delay.

    A failure after a newer checkpoint than all before is the first one again: the training progresses.
    """
    old = context.previous.get(stage.name)
    if old is not None and _is_counted(old, workload):
        return {name: getattr(old, name) for name in RETRY_FIELDS}
    failures, disruptions = _failures(stage, old, workload), (old.disruptions or 0) if old else 0
    known, step = old.checkpoint_step if old else None, checkpoint_step(workload.pods)
    if failure.disrupted:
        disruptions += 1
    else:
        failures = 1 if step is not None and step > (known or 0) else failures + 1
    ended = min(workload.ended or context.now, context.now)
    delay = 0.0 if at_once else _delay(failures + disruptions, workload, ended)
    return {
        "attempt": workload.attempt or None,
        "failures": failures or None,
        "disruptions": disruptions or None,
        "retry_time": format_time(ended + timedelta(seconds=delay)),
        "checkpoint_step": max((s for s in (known, step) if s is not None), default=None),
        "avoided_nodes": _avoided(old, workload, failure),
    }


def may_follow(context: Context, stage: Stage, numbers: dict[str, Any], failure: Failure) -> bool:
    """Return whether another attempt may follow a failed one, by its reason and ``backoffLimit``."""
    if failure.disrupted:
        return True
    attempts = [w for w in context.observed_stage(stage).workloads if w.attempt >= context.first_attempt(stage)]
    killed = sum(w.failure is not None and w.failure.reason is Reason.OUT_OF_MEMORY for w in attempts)
    helps = failure.retryable or (failure.reason is Reason.OUT_OF_MEMORY and killed <= OUT_OF_MEMORY_RETRIES)
    return helps and (numbers["failures"] or 0) <= context.pinned.spec.backoff_limit


def failed_on_one_node(context: Context, stage: Stage, workload: Workload) -> bool:
    """Return whether every failed pod of a Job ran on the same node, and no attempt has avoided that node so far.

    A Job cannot change its pods, and the scheduler prefers the node that has the image.
    """
    old = context.previous.get(stage.name)
    if old is not None and _is_counted(old, workload):
        return True
    pods = [pod for pod in workload.pods if pod_phase(pod) == "Failed"]
    nodes = {(pod.get("spec") or {}).get("nodeName") for pod in pods}
    known = (old.avoided_nodes or []) if old else []
    return workload.phase is Phase.FAILED and len(nodes) == 1 and nodes.isdisjoint([None, *known])


def seconds_left(retry_time: str | None, now: datetime) -> float:
    """Return the seconds until the next attempt; 0 if it may start, also after the clock was set back."""
    time = parse_time(retry_time)
    left = (time - now).total_seconds() if time else 0.0
    return left if 0 < left <= MAX_SECONDS else 0.0


def attempt_to_start(old: StageStatus | None) -> int:
    """Return the number of the attempt to start if the stage has no workload."""
    return (old.attempt or 0) + bool(old.retry_time) if old else 0


def avoided_with(old: StageStatus | None, nodes: list[str]) -> list[str] | None:
    """Return the nodes to avoid, with those of the last attempt: at most ``AVOIDED_NODES_MAX``, the newest last."""
    known = [node for node in (old.avoided_nodes or [] if old else []) if node not in nodes]
    return [*known, *dict.fromkeys(nodes)][-AVOIDED_NODES_MAX:] or None


def nodes_of(workload: Workload, pod: str = "") -> list[str]:
    """Return the nodes of the pods of an attempt, or of one of them."""
    pods = [p for p in workload.pods if not pod or p["metadata"]["name"] == pod]
    return [node for p in pods if (node := (p.get("spec") or {}).get("nodeName"))]


def _is_counted(old: StageStatus, workload: Workload) -> bool:
    """Return whether the failure of an attempt is in the status already.

    A later attempt may have been deleted, for example when the run was suspended.
    """
    attempt = old.attempt or 0
    return attempt > workload.attempt or (attempt == workload.attempt and old.retry_time is not None)


def _failures(stage: Stage, old: StageStatus | None, workload: Workload) -> int:
    """Return the failures before this one. Releases up to 0.2.0 counted attempts only.

    A server and its client have the same attempts, so their number does not say which of them failed.
    """
    if old is not None and old.failures is not None:
        return old.failures
    if stage.server or stage.traits.is_server:
        return 0
    return max(0, workload.attempt - ((old.first_attempt or 0) + (old.disruptions or 0) if old else 0))


def _delay(earlier: int, workload: Workload, ended: datetime) -> float:
    """Return the time between an attempt and the next one, in seconds: short after an attempt that ran for long."""
    if workload.placed and ended - workload.placed >= SHORT_LIFE:
        return FIRST_SECONDS
    return float(min(FIRST_SECONDS * 2 ** min(earlier - 1, 10), MAX_SECONDS))


def _avoided(old: StageStatus | None, workload: Workload, failure: Failure) -> list[str] | None:
    return avoided_with(old, nodes_of(workload, failure.pod) if failure.pod else [])
