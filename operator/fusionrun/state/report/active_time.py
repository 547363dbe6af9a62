"""The time for which a run has been active: the sum over all suspensions.

It is counted in steps from one reconcile to a later one. A step is at most ``MAX_STEP``, so a jump of the operator's
clock adds little, and time during which no operator ran may be left out.
"""

from datetime import datetime, timedelta
from typing import Any

from fusionrun.api.status.conditions import ConditionStatus, ConditionType
from fusionrun.api.status.run import FusionRunStatus
from fusionrun.api.storable import bounded
from fusionrun.state.observe.object_fields import format_time, parse_time

STEP = timedelta(minutes=10)
"""Time between two writes of the active time to the status. A resync reconciles every run as often."""
MAX_STEP = timedelta(minutes=20)
FIELDS = ("active_seconds", "active_until", "clock_jump_time")


def active_seconds(before: FusionRunStatus, now: datetime) -> int:
    """Return for how many seconds a run has been active.

    Releases up to 0.2.0 recorded no active time: the time since the last resumption counts.
    """
    known = before.active_seconds or 0
    if _is_suspended(before):
        return known
    until = parse_time(before.active_until)
    if until is None:
        since = _resumed(before) if before.active_seconds is None else None
        return known + max(0, int((now - since).total_seconds())) if since else known
    return known + int(min(max(now - until, timedelta(0)), MAX_STEP).total_seconds())


def recorded(before: FusionRunStatus, now: datetime, *, active: bool) -> dict[str, Any]:
    """Return the fields of the status on active time; ``active``: whether the run is neither suspended nor finished."""
    until = parse_time(before.active_until)
    jump = format_time(now) if _jumped(before, now) else before.clock_jump_time
    if active and until is not None and timedelta(0) <= now - until < STEP:
        return {name: getattr(before, name) for name in FIELDS}
    if not active and until is None and before.conditions:
        return {name: getattr(before, name) for name in FIELDS}
    return {
        "active_seconds": bounded(active_seconds(before, now)),
        "active_until": format_time(now) if active else None,
        "clock_jump_time": jump if active and not trusts_clock(before, now) else None,
    }


def trusts_clock(before: FusionRunStatus, now: datetime) -> bool:
    """Return whether the time may be compared with the deadline of a stage: the clock has not jumped for a while."""
    jump = parse_time(before.clock_jump_time)
    return not _jumped(before, now) and (jump is None or now - jump >= MAX_STEP)


def _jumped(before: FusionRunStatus, now: datetime) -> bool:
    """Return whether the time is far from that of the last reconcile; no operator may have run in between."""
    until = parse_time(before.active_until)
    return until is not None and not timedelta(0) <= now - until <= MAX_STEP


def _is_suspended(before: FusionRunStatus) -> bool:
    return any(c.type is ConditionType.SUSPENDED and c.status is ConditionStatus.TRUE for c in before.conditions)


def _resumed(before: FusionRunStatus) -> datetime | None:
    """Return when the run started or was last resumed."""
    for condition in before.conditions:
        if condition.type is ConditionType.SUSPENDED:
            return parse_time(condition.last_transition_time)
    return parse_time(before.start_time)
