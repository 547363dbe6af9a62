"""Kubernetes events of a run: what changed between two states of its status."""

from dataclasses import dataclass
from typing import Literal

from fusionrun.api.status import ConditionType, FusionRunStatus, Reason, StageState

_EXPECTED = (Reason.STAGES_RUNNING, Reason.SUSPENDED)
"""Reasons of a run that is not ready and needs no attention."""


@dataclass(frozen=True)
class Event:
    """A Kubernetes event of a run."""

    type: Literal["Normal", "Warning"]
    reason: Reason
    message: str


def events(before: FusionRunStatus, after: FusionRunStatus) -> list[Event]:
    """Return the events of every stage that changed, of the data set, and of the run."""
    return [*_stage_events(before, after), *_dataset_events(before, after), *_run_events(before, after)]


def _stage_events(before: FusionRunStatus, after: FusionRunStatus) -> list[Event]:
    old = {s.name: s for s in before.stages}
    found = []
    for stage in after.stages:
        was = old[stage.name].state if stage.name in old else StageState.PENDING
        retried = stage.name in old and (stage.attempt or 0) > (old[stage.name].attempt or 0)
        if retried:
            found.append(Event("Warning", Reason.STAGE_RETRIED, f"{stage.name}: {stage.message}"))
        elif stage.state is was:
            continue
        elif stage.state is StageState.FAILED:
            found.append(Event("Warning", Reason.STAGE_FAILED, f"{stage.name}: {stage.reason}: {stage.message}"))
        elif stage.state is StageState.SUCCEEDED:
            found.append(Event("Normal", Reason.STAGE_SUCCEEDED, stage.name))
        elif stage.state is StageState.RUNNING and was is not StageState.READY:
            found.append(Event("Normal", Reason.STAGE_STARTED, f"{stage.name}: {stage.object_ref}"))
    return found


def _dataset_events(before: FusionRunStatus, after: FusionRunStatus) -> list[Event]:
    """Warn once about data sets whose sizes differ from the recipe's."""
    warnings, known = _size_warnings(after), _size_warnings(before)
    return [Event("Warning", Reason.DATASET_SIZE_DIFFERS, "; ".join(warnings))] if warnings and not known else []


def _size_warnings(status: FusionRunStatus) -> list[str]:
    rows = status.dataset.by_dataset if status.dataset else []
    return [f"datasets[{row.name}]: {row.warning}" for row in rows if row.warning]


def _run_events(before: FusionRunStatus, after: FusionRunStatus) -> list[Event]:
    """Report each change of the reason of the Ready condition."""
    ready = {c.type: c for c in before.conditions}.get(ConditionType.READY)
    found = []
    for condition in after.conditions:
        if condition.type is ConditionType.READY and (ready is None or ready.reason != condition.reason):
            bad = condition.status == "False" and condition.reason not in _EXPECTED
            text = condition.message or "accepted"
            found.append(Event("Warning" if bad else "Normal", Reason(condition.reason), text))
    return found
