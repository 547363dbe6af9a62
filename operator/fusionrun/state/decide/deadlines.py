"""Deadlines of a stage: for how long an attempt may run, and for how long it may have no running pod."""

from dataclasses import replace
from datetime import timedelta

from fusionrun.api.status.conditions import Reason
from fusionrun.names import ANNOTATION_RETRY
from fusionrun.plan.stages import Stage
from fusionrun.state.decide.attempts import failed
from fusionrun.state.decide.context import Context, StageOutcome
from fusionrun.state.observe.failures import Failure
from fusionrun.state.observe.object_fields import format_time, parse_time, pod_phase
from fusionrun.state.observe.pending_pods import CHECK_SECONDS, NO_POD, is_queued
from fusionrun.state.observe.workloads import Phase, Workload
from fusionrun.state.report.stage_status import ACTIVE


def with_deadlines(context: Context, stage: Stage, outcome: StageOutcome) -> StageOutcome:
    """Fail an active stage that has exceeded a deadline; else look again when it would."""
    workload = context.observed_stage(stage).latest
    if outcome.status.state not in ACTIVE or workload is None or (outcome.status.attempt or 0) != workload.attempt:
        return outcome  # the attempt is being created
    limits = context.pinned.spec.deadlines(stage.kind)
    times: list[float] = []
    if limits.active_deadline_seconds and workload.placed:
        left = (workload.placed + timedelta(seconds=limits.active_deadline_seconds) - context.now).total_seconds()
        if left < 0 and context.trusts_clock:
            return failed(context, stage, workload, _ran_too_long(stage, limits.active_deadline_seconds))
        times.append(left)
    if limits.pre_running_deadline_seconds and not _is_running(stage, workload) and not is_queued(workload):
        old = context.previous.get(stage.name)
        since = (parse_time(old.pending_since) if old else None) or context.now
        left = (since + timedelta(seconds=limits.pre_running_deadline_seconds) - context.now).total_seconds()
        if left < 0 and context.trusts_clock:
            text = outcome.status.message or NO_POD
            return failed(context, stage, workload, _never_ran(stage, limits.pre_running_deadline_seconds, text))
        outcome = replace(outcome, status=outcome.status.model_copy(update={"pending_since": format_time(since)}))
        times.append(left)
    checks = [left + 1 if left >= 0 else CHECK_SECONDS for left in times]
    if checks and outcome.requeue_seconds is not None:
        checks.append(outcome.requeue_seconds)
    return replace(outcome, requeue_seconds=min(checks)) if checks else outcome


def _is_running(stage: Stage, workload: Workload) -> bool:
    """Return whether a pod of a stage runs, or has succeeded; a training needs all of its pods."""
    if workload.phase is Phase.READY:
        return True
    running = [pod for pod in workload.pods if pod_phase(pod) in ("Running", "Succeeded")]
    return len(running) >= (stage.pods if stage.traits.retried_by_operator else 1)


def _ran_too_long(stage: Stage, seconds: int) -> Failure:
    text = (
        f"spec.stageDeadlines[{stage.kind}].activeDeadlineSeconds: {seconds}: the stage has run for longer: see its "
        f"log or raise the deadline, and retry the run (annotation {ANNOTATION_RETRY}): it continues from what is on "
        "the volume"
    )
    return Failure(Reason.DEADLINE_EXCEEDED, text)


def _never_ran(stage: Stage, seconds: int, why: str) -> Failure:
    text = (
        f"preRunningDeadlineSeconds: {seconds}: stage {stage.name} had no running pod for longer ({why}): free or add "
        f"nodes, or raise spec.preRunningDeadlineSeconds, and retry the run (annotation {ANNOTATION_RETRY})"
    )
    return Failure(Reason.DEADLINE_EXCEEDED, text)
