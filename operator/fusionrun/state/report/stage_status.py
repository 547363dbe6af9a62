"""The status of one stage, from what was known of it before and what is seen now. It says; it decides nothing."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from fusionrun.api.result import StageResult
from fusionrun.api.status import Reason, StageState, StageStatus
from fusionrun.plan.stages import Stage
from fusionrun.state.observe.observed import Workload, parse_time
from fusionrun.state.report import results
from fusionrun.state.report import stage_progress as progress
from fusionrun.state.report.conditions import stamp

DONE = frozenset({StageState.SUCCEEDED, StageState.SKIPPED})
AT_WORK = frozenset({StageState.RUNNING, StageState.READY})
MESSAGE_CHARACTERS = 1024


def idle(
    stage: Stage | StageStatus,
    old: StageStatus | None,
    state: StageState,
    reason: Reason | None = None,
    message: str | None = None,
) -> StageStatus:
    """Return the status of a stage that holds nothing now: all that it has spent is of earlier attempts."""
    spent = old.gpu_seconds if old else None
    return StageStatus(
        name=stage.name,
        state=state,
        reason=reason,
        message=message[:MESSAGE_CHARACTERS] if message else None,
        gpu_seconds=spent,
        earlier_gpu_seconds=spent,
    )


def seen(
    stage: Stage,
    old: StageStatus | None,
    workload: Workload,
    state: StageState,
    reason: Reason,
    now: datetime,
    ended: datetime | None = None,
) -> StageStatus:
    """Return the status of a stage that has a workload.

    Parameters
    ----------
    stage, old, workload
        The stage, what was known of it, and its last attempt.
    state, reason
        How it is.
    now, ended
        The time, and when the stage ended if it has.
    """
    started = (parse_time(old.start_time) if old else None) or workload.started
    status = idle(stage, old, state, reason).model_copy(
        update={
            "attempt": workload.attempt or None,
            "start_time": stamp(started) if started else None,
            "end_time": stamp(ended) if ended else None,
            "object_ref": f"{workload.manifest['kind']}/{workload.manifest['metadata']['name']}",
        }
    )
    if workload.placed is None:  # in a queue, for the first time or, preempted, again
        return status
    earlier = (old.earlier_gpu_seconds if old else None) or 0
    spent = progress.gpu_seconds(stage.gpus, workload.placed, ended or now, earlier, running=ended is None)
    known = (old.gpu_seconds if old else None) or 0  # what a pod has spent stays spent, though the pod be gone
    return status.model_copy(update={"gpu_seconds": max(spent, known) or None, "earlier_gpu_seconds": earlier or None})


def last_numbers(words: Sequence[StageResult]) -> dict[str, Any]:
    """Return the fields of a stage's status that its pods' last words fill."""
    last = words[0].numbers if words else {}
    return {
        "cache_hit": True if words and all(w.cached for w in words) else None,
        "cost_micro": results.total(words, "cost_micro") or None,
        "peak_memory_bytes": results.peak_memory(words),
        "tokens_per_second": results.rate(words),
        "loss": _rounded(last.get("last_loss")),
        "reward_accuracy": _rounded(last.get("last_reward_accuracy", last.get("held_out_accuracy"))),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
