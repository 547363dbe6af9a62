"""The retry of a failed run in place, which a new value of the annotation ``fusionrun.dev/retry`` requests.

Finished stages stay finished. Each stage that failed gets a new attempt, whose objects have other names; GPU time and
earlier attempts stay counted. The value is recorded in the status, so that it has one effect. Nothing else continues a
run that has finished.

Notes
-----
Argo Workflows (``argo retry``) and Kubernetes (``kubectl rollout restart``, an annotation with a time) do the same.
"""

from collections.abc import Callable, Iterator
from datetime import datetime

from fusionrun.api.contract import Manifest
from fusionrun.api.status.conditions import Condition, ConditionStatus, ConditionType, Reason
from fusionrun.api.status.run import RETRIES_MAX, RETRY_CHARACTERS, RETRY_MESSAGE_CHARACTERS, FusionRunStatus, Retry
from fusionrun.api.status.stages import StageState, StageStatus
from fusionrun.names import ANNOTATION_RETRY
from fusionrun.state.observe.object_fields import format_time
from fusionrun.state.observe.observed import Observed
from fusionrun.state.observe.workloads import Phase
from fusionrun.state.report import conditions, summary
from fusionrun.state.report.stage_status import DONE, idle
from fusionrun.state.report.summary import RunReport


def last_value(run: Manifest, before: FusionRunStatus) -> str | None:
    """Return the last value of the annotation: that in the status if the annotation is empty now."""
    value = (run["metadata"].get("annotations") or {}).get(ANNOTATION_RETRY) or ""
    return value[:RETRY_CHARACTERS] or before.retry


def failure(before: FusionRunStatus) -> Condition | None:
    """Return the condition of a run that has failed; None for any other run."""
    true = (c for c in before.conditions if c.status is ConditionStatus.TRUE)
    return next((c for c in true if c.type is ConditionType.FAILED), None)


def retry(
    run: Manifest,
    observed: Observed,
    before: FusionRunStatus,
    failed: Condition,
    now: datetime,
    with_gpu_time: Callable[[RunReport], RunReport],
) -> FusionRunStatus:
    """Return the status of a failed run that is retried: not finished any more, its failed stages pending."""
    attempts = dict(_next_attempts(observed, before))
    names = ", ".join(attempts)
    entry = Retry(
        time=format_time(now),
        reason=failed.reason,
        message=failed.message[:RETRY_MESSAGE_CHARACTERS],
        stages=names[:256] or None,
    )
    recorded = before.model_copy(
        update={
            "retry": last_value(run, before),
            "retries": [*before.retries, entry][-RETRIES_MAX:],
            "active_seconds": 0,
        }
    )
    report = RunReport(
        stages=[_pending(stage, attempts.get(stage.name)) for stage in before.stages],
        results=before.results,
        dataset=before.dataset,
    )
    text = f"the run is retried, after it failed: {failed.message}"
    generation = int(run["metadata"].get("generation") or 0)
    new = conditions.in_progress(text, Reason.RUN_RETRIED)
    return summary.summary(recorded, new, generation, now, with_gpu_time(report))


def _next_attempts(observed: Observed, before: FusionRunStatus) -> Iterator[tuple[str, int]]:
    """Yield each stage that failed, and its next attempt.

    A stage may have failed after the run had failed already, so that its status does not say so.
    """
    for stage in before.stages:
        workload = observed.stage(stage.name).latest
        ended_badly = workload is not None and workload.phase is Phase.FAILED
        if stage.state is StageState.FAILED or (ended_badly and stage.state not in DONE):
            known = (stage.attempt or 0, stage.first_attempt or 0, workload.attempt if workload else 0)
            yield stage.name, max(known) + 1


_COUNTS = dict.fromkeys(("failures", "disruptions", "retry_time", "avoided_nodes"))
"""Fields of a stage that start again with the retry of its run."""


def _pending(stage: StageStatus, next_attempt: int | None) -> StageStatus:
    if stage.state in DONE:
        return stage
    pending = idle(stage, stage, StageState.PENDING, Reason.RUN_RETRIED if next_attempt else None)
    return pending if next_attempt is None else pending.model_copy(update=_COUNTS | {"first_attempt": next_attempt})
