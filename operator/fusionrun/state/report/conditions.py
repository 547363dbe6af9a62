"""A run's conditions, as metav1 wants them: the transition time moves only when the status flips."""

from collections.abc import Iterable
from datetime import datetime

from fusionrun.api.status import Condition, ConditionStatus, ConditionType, Reason

Wanted = tuple[ConditionType, bool | None, Reason, str]
"""Type, whether it holds (None: not known), reason, message."""


def stamp(now: datetime) -> str:
    """Write a time as Kubernetes does: UTC, whole seconds."""
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


def set_conditions(
    previous: Iterable[Condition], wanted: Iterable[Wanted], generation: int, now: datetime
) -> list[Condition]:
    """Return the wanted conditions, keeping the transition time of those whose status stays."""
    before = {c.type: c for c in previous}
    return [_condition(before.get(w[0]), w, generation, now) for w in wanted]


def _condition(old: Condition | None, wanted: Wanted, generation: int, now: datetime) -> Condition:
    kind, holds, reason, message = wanted
    status = {True: ConditionStatus.TRUE, False: ConditionStatus.FALSE, None: ConditionStatus.UNKNOWN}[holds]
    since = old.last_transition_time if old and old.status is status else stamp(now)
    return Condition(
        type=kind,
        status=status,
        reason=reason,
        message=message[:2048],
        last_transition_time=since,
        observed_generation=generation,
    )


def in_progress(message: str, reason: Reason = Reason.STAGES_RUNNING) -> list[Wanted]:
    """Return the conditions of a run at work, or waiting for something that may come."""
    return [
        (ConditionType.READY, False, reason, message),
        (ConditionType.FINISHED, False, reason, ""),
        (ConditionType.COMPLETE, False, reason, ""),
        (ConditionType.FAILED, False, reason, ""),
        (ConditionType.SUSPENDED, False, reason, ""),
        (ConditionType.RECONCILING, True, reason, message),
        (ConditionType.STALLED, False, reason, ""),
    ]


def suspended(reason: Reason, message: str) -> list[Wanted]:
    """Return the conditions of a suspended run."""
    return [
        (ConditionType.READY, False, reason, message),
        (ConditionType.FINISHED, False, reason, ""),
        (ConditionType.COMPLETE, False, reason, ""),
        (ConditionType.FAILED, False, reason, ""),
        (ConditionType.SUSPENDED, True, reason, message),
        (ConditionType.RECONCILING, False, reason, ""),
        (ConditionType.STALLED, False, reason, ""),
    ]


def complete(message: str) -> list[Wanted]:
    """Return the conditions of a run that has reached its end."""
    return [
        (ConditionType.READY, True, Reason.SUCCEEDED, message),
        (ConditionType.FINISHED, True, Reason.SUCCEEDED, message),
        (ConditionType.COMPLETE, True, Reason.SUCCEEDED, message),
        (ConditionType.FAILED, False, Reason.SUCCEEDED, ""),
        (ConditionType.SUSPENDED, False, Reason.SUCCEEDED, ""),
        (ConditionType.RECONCILING, False, Reason.SUCCEEDED, ""),
        (ConditionType.STALLED, False, Reason.SUCCEEDED, ""),
    ]


def failed(reason: Reason, message: str) -> list[Wanted]:
    """Return the conditions of a run that failed for good."""
    return [
        (ConditionType.READY, False, reason, message),
        (ConditionType.FINISHED, True, reason, message),
        (ConditionType.COMPLETE, False, reason, ""),
        (ConditionType.FAILED, True, reason, message),
        (ConditionType.SUSPENDED, False, reason, ""),
        (ConditionType.RECONCILING, False, reason, ""),
        (ConditionType.STALLED, True, reason, message),
    ]
