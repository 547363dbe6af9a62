"""Kubernetes events of a run: what changed between two states of its status."""

from dataclasses import dataclass
from typing import Literal

from fusionrun import names
from fusionrun.api.status.conditions import ConditionType, Reason
from fusionrun.api.status.run import FusionRunStatus
from fusionrun.api.status.stages import StageState, StageStatus
from fusionrun.state.report.scores import missing_scores

_EXPECTED = (Reason.STAGES_RUNNING, Reason.SUSPENDED, Reason.RUN_RETRIED, Reason.QUEUED)
"""Reasons of a run that is not ready and needs no attention."""


@dataclass(frozen=True)
class Event:
    """A Kubernetes event of a run."""

    type: Literal["Normal", "Warning"]
    reason: Reason
    message: str


def events(before: FusionRunStatus, after: FusionRunStatus) -> list[Event]:
    """Return the events of every stage that changed, of the data set, of the scores, and of the run."""
    of_stages = (*_stage_events(before, after), *_queue_events(before, after))
    of_results = (*_dataset_events(before, after), *_score_events(before, after))
    return [*of_stages, *of_results, *_run_events(before, after)]


def _stage_events(before: FusionRunStatus, after: FusionRunStatus) -> list[Event]:
    old_stages = {s.name: s for s in before.stages}
    stage_events = []
    for stage in after.stages:
        old = old_stages.get(stage.name, StageStatus(name=stage.name, state=StageState.PENDING))
        if stage.name in old_stages and (stage.attempt or 0) > (old.attempt or 0):
            stage_events.append(Event("Warning", Reason.STAGE_RETRIED, f"{stage.name}: {stage.message}"))
        elif stage.state is old.state:
            continue
        elif stage.state is StageState.FAILED:
            text = f"{stage.name}: {stage.reason}: {stage.message}"
            stage_events.append(Event("Warning", Reason.STAGE_FAILED, text))
        elif stage.state is StageState.SUCCEEDED:
            stage_events.append(Event("Normal", Reason.STAGE_SUCCEEDED, stage.name))
        elif stage.state is StageState.RUNNING and old.state is not StageState.READY:
            stage_events.append(Event("Normal", Reason.STAGE_STARTED, f"{stage.name}: {stage.object_ref}"))
    return stage_events


def _queue_events(before: FusionRunStatus, after: FusionRunStatus) -> list[Event]:
    """Warn once about each stage that Kueue ignores."""
    known = {s.name for s in before.stages if s.reason == Reason.QUEUE_IGNORED}
    found = [s for s in after.stages if s.reason == Reason.QUEUE_IGNORED and s.name not in known]
    return [Event("Warning", Reason.QUEUE_IGNORED, f"{stage.name}: {stage.message}") for stage in found]


def _dataset_events(before: FusionRunStatus, after: FusionRunStatus) -> list[Event]:
    """Warn once about data sets whose sizes differ from the recipe's."""
    warnings, known = _size_warnings(after), _size_warnings(before)
    return [Event("Warning", Reason.DATASET_SIZE_DIFFERS, "; ".join(warnings))] if warnings and not known else []


def _size_warnings(status: FusionRunStatus) -> list[str]:
    rows = status.dataset.by_dataset if status.dataset else []
    return [f"datasets[{row.name}]: {row.warning}" for row in rows if row.warning]


def _score_events(before: FusionRunStatus, after: FusionRunStatus) -> list[Event]:
    """Warn once about each model that has no score on a benchmark."""
    known = set(_missing_scores(before))
    return [Event("Warning", Reason.SCORE_MISSING, m) for m in _missing_scores(after) if m not in known]


def _missing_scores(status: FusionRunStatus) -> list[str]:
    return [f"{row.benchmark}: {text}" for row in status.results for text in missing_scores(row)]


def _run_events(before: FusionRunStatus, after: FusionRunStatus) -> list[Event]:
    """Report a retry that has no effect, and each change of the reason of the Ready condition."""
    return [*_retry_events(before, after), *_ready_events(before, after)]


def _retry_events(before: FusionRunStatus, after: FusionRunStatus) -> list[Event]:
    """Report an annotation of a run that has not failed; one that a new run has is not a request."""
    if after.retry == before.retry or after.retries != before.retries or before.start_time is None:
        return []
    text = f"annotation {names.ANNOTATION_RETRY}: {after.retry!r}: ignored: only a run that has failed is retried"
    return [Event("Normal", Reason.RETRY_IGNORED, text)]


def _ready_events(before: FusionRunStatus, after: FusionRunStatus) -> list[Event]:
    old, new = ({c.type: c for c in status.conditions}.get(ConditionType.READY) for status in (before, after))
    if new is None or (old is not None and old.reason == new.reason):
        return []
    needs_attention = new.status == "False" and new.reason not in _EXPECTED
    return [Event("Warning" if needs_attention else "Normal", Reason(new.reason), new.message or "accepted")]
