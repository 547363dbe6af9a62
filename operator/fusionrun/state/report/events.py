"""What is new between two statuses of a run, as Kubernetes events: for people, and for ``kubectl describe``."""

from fusionrun.api.status import ConditionType, FusionRunStatus, Reason, StageState
from fusionrun.state.decide.decision import Event

_EXPECTED = (Reason.STAGES_RUNNING, Reason.SUSPENDED)
"""Reasons of a run that is not ready and that nobody need look at."""


def events(before: FusionRunStatus, after: FusionRunStatus) -> list[Event]:
    """Return the events of every stage that changed, of the data set, then that of the run."""
    return [*_of_stages(before, after), *_of_dataset(before, after), *_of_the_run(before, after)]


def _of_stages(before: FusionRunStatus, after: FusionRunStatus) -> list[Event]:
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


def _of_dataset(before: FusionRunStatus, after: FusionRunStatus) -> list[Event]:
    """Warn once of data sets whose sizes are not the recipe's."""
    warnings, known = _size_warnings(after), _size_warnings(before)
    return [Event("Warning", Reason.DATASET_SIZE_DIFFERS, "; ".join(warnings))] if warnings and not known else []


def _size_warnings(status: FusionRunStatus) -> list[str]:
    rows = status.dataset.by_dataset if status.dataset else []
    return [f"datasets[{row.name}]: {row.warning}" for row in rows if row.warning]


def _of_the_run(before: FusionRunStatus, after: FusionRunStatus) -> list[Event]:
    ready = {c.type: c for c in before.conditions}.get(ConditionType.READY)
    found = []
    for condition in after.conditions:
        if condition.type is ConditionType.READY and (ready is None or ready.reason != condition.reason):
            bad = condition.status == "False" and condition.reason not in _EXPECTED
            text = condition.message or "accepted"
            found.append(Event("Warning" if bad else "Normal", Reason(condition.reason), text))
    return found
