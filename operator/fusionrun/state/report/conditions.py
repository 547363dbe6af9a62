"""Conditions of a run, as metav1.Condition defines them: the transition time changes only with the status."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from fusionrun.api.status.conditions import Condition, ConditionStatus, ConditionType, Reason
from fusionrun.state.observe.object_fields import format_time


class NewCondition(NamedTuple):
    """A condition of the run without its transition time."""

    type: ConditionType
    status: ConditionStatus
    reason: Reason
    message: str


def set_conditions(
    previous: Iterable[Condition], new: Iterable[NewCondition], generation: int, now: datetime
) -> list[Condition]:
    """Return the new conditions; one whose status does not change keeps its transition time."""
    before = {c.type: c for c in previous}
    return [_condition(before.get(each.type), each, generation, now) for each in new]


def _condition(old: Condition | None, new: NewCondition, generation: int, now: datetime) -> Condition:
    return Condition(
        type=new.type,
        status=new.status,
        reason=new.reason,
        message=new.message[:2048],
        last_transition_time=old.last_transition_time if old and old.status is new.status else format_time(now),
        observed_generation=generation,
    )


def in_progress(message: str, reason: Reason = Reason.STAGES_RUNNING) -> list[NewCondition]:
    """Return the conditions of a run that has running stages, or waits for something."""
    return _conditions(reason, message, ConditionType.RECONCILING)


def suspended(reason: Reason, message: str) -> list[NewCondition]:
    """Return the conditions of a suspended run."""
    return _conditions(reason, message, ConditionType.SUSPENDED)


def complete(message: str) -> list[NewCondition]:
    """Return the conditions of a run that finished successfully."""
    true = (ConditionType.READY, ConditionType.FINISHED, ConditionType.COMPLETE)
    return _conditions(Reason.SUCCEEDED, message, *true)


def failed(reason: Reason, message: str) -> list[NewCondition]:
    """Return the conditions of a run that failed."""
    return _conditions(reason, message, ConditionType.FINISHED, ConditionType.FAILED, ConditionType.STALLED)


_TYPES = tuple(kind for kind in ConditionType if kind is not ConditionType.EVALUATION_PASSED)


def _conditions(reason: Reason, message: str, *true: ConditionType) -> list[NewCondition]:
    """Return all conditions; Ready and those that are true have the message."""
    return [
        NewCondition(
            each,
            ConditionStatus.TRUE if each in true else ConditionStatus.FALSE,
            reason,
            message if each in (ConditionType.READY, *true) else "",
        )
        for each in _TYPES
    ]
