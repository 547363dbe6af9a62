"""The conditions of a run from the outcomes of its stages, and whether every stage must stop."""

from collections.abc import Sequence
from dataclasses import dataclass

from fusionrun.api.spec import FusionRunSpec
from fusionrun.api.status import ConditionStatus, ConditionType, FusionRunStatus, Reason, StageState
from fusionrun.state.decide.context import Context, Outcomes
from fusionrun.state.observe.pending_pods import NO_POD, overdue
from fusionrun.state.report import conditions, results
from fusionrun.state.report.active_time import STEP, active_seconds
from fusionrun.state.report.conditions import NewCondition
from fusionrun.state.report.stage_status import ACTIVE, DONE, GPU_QUANTUM_SECONDS

SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class Conclusion:
    """The conditions of a run, and whether its stages stop."""

    conditions: list[NewCondition]
    stop: tuple[Reason, str] | None = None
    """If every stage must stop: the reason and the message for the unfinished ones."""
    requeue_seconds: tuple[float, ...] = ()
    """Times after which another reconcile is due."""


def conclude(context: Context, outcomes: Outcomes, before: FusionRunStatus) -> Conclusion:
    """Return the conditions of the run, and whether its stages stop."""
    spec, now = context.pinned.spec, context.now
    if outcomes.failures:
        name, failure = outcomes.failures[0]
        return Conclusion(
            conditions.failed(Reason.STAGE_FAILED, f"stage {name} failed: {failure.message}"),
            stop=(Reason.STAGE_FAILED, f"stopped because stage {name} failed; finished artifacts are kept"),
        )
    if all(s.state in DONE for s in outcomes.statuses):
        complete = conditions.complete("the model is trained and evaluated")
        return Conclusion([*complete, _gate_condition(spec, outcomes)])
    if spec.suspend:
        text = "spec.suspend is true: set it to false to resume"
        return Conclusion(conditions.suspended(Reason.SUSPENDED, text), stop=(Reason.SUSPENDED, "suspended"))
    spent = sum(s.gpu_seconds or 0 for s in outcomes.statuses) / SECONDS_PER_HOUR
    limit = spec.budget.max_gpu_hours if spec.budget else None
    if limit is not None and spent >= limit:
        text = f"spec.budget.maxGpuHours: {limit:g}: the run has used {spent:.2f} GPU hours: raise the limit to resume"
        return Conclusion(
            conditions.suspended(Reason.BUDGET_EXCEEDED, text),
            stop=(Reason.BUDGET_EXCEEDED, "suspended: spec.budget.maxGpuHours is used up"),
        )
    deadline, active = spec.active_deadline_seconds, active_seconds(before, now)
    if deadline and active > deadline:
        text = (
            f"spec.activeDeadlineSeconds: {deadline}: the run exceeded its deadline: "
            "create a new run with a longer one; it reuses the finished artifacts"
        )
        return Conclusion(
            conditions.failed(Reason.DEADLINE_EXCEEDED, text),
            stop=(Reason.DEADLINE_EXCEEDED, "stopped at spec.activeDeadlineSeconds; finished artifacts are kept"),
        )
    requeue, progress = [], _in_progress(context, outcomes)
    if deadline:
        requeue.append(min(deadline - active + 1.0, STEP.total_seconds()))
    gpus = sum(context.pinned.plan[s.name].gpus for s in outcomes.statuses if s.state in ACTIVE)
    if limit is not None and gpus:
        requeue.append(max(GPU_QUANTUM_SECONDS, (limit - spent) * SECONDS_PER_HOUR / gpus))
    return Conclusion(progress.conditions, requeue_seconds=(*requeue, *progress.requeue_seconds))


def _in_progress(context: Context, outcomes: Outcomes) -> Conclusion:
    """Report which stages run, or what all of them wait for."""
    undone = [s for s in context.pinned.plan.stages if outcomes.state(s.name) not in DONE]
    for missing in context.missing:
        if any(missing.blocks(stage) for stage in undone):
            requeue = (context.settings.missing_seconds,)
            return Conclusion(conditions.in_progress(missing.message, missing.reason), requeue_seconds=requeue)
    waiting = [s for s in outcomes.statuses if s.state is StageState.WAITING and s.message]
    refused = [f"{s.name}: {s.message}" for s in waiting if s.reason == Reason.OBJECT_REFUSED]
    if refused:
        return Conclusion(conditions.in_progress("; ".join(refused), Reason.OBJECT_REFUSED))
    if active := [s.name for s in outcomes.statuses if s.state in ACTIVE]:
        return _active(context, outcomes, active)
    text = "; ".join(f"{s.name}: {s.message}" for s in waiting)
    return Conclusion(conditions.in_progress(text or "the first stages are about to start"))


def _active(context: Context, outcomes: Outcomes, names: Sequence[str]) -> Conclusion:
    """Report which stages run, and which of them have pending pods; the run is pending if none has a running pod."""
    pending = {name: pods for name in names if (pods := outcomes.stages[name].pending)}
    waiting, seconds = overdue(pending, context.now)
    requeue = () if seconds is None else (seconds,)
    text = "; ".join(f"{name}: {pods.message}" for name, pods in waiting.items() if pods.message)
    if waiting and all(name in pending and not pending[name].running for name in names):
        reasons = {pods.reason for pods in waiting.values()}
        reason = Reason.SECRET_MISSING if Reason.SECRET_MISSING in reasons else Reason.PODS_PENDING
        return Conclusion(conditions.in_progress(text or NO_POD, reason), requeue_seconds=requeue)
    message = f"running: {', '.join(names)}" + (f"; pending: {text}" if text else "")
    return Conclusion(conditions.in_progress(message), requeue_seconds=requeue)


def _gate_condition(spec: FusionRunSpec, outcomes: Outcomes) -> NewCondition:
    kind = ConditionType.EVALUATION_PASSED
    if not spec.evaluation.gate:
        return NewCondition(kind, ConditionStatus.UNKNOWN, Reason.NO_GATE, "spec.evaluation.gate is empty")
    failures = results.gate_failures(spec.evaluation, outcomes.benchmarks)
    if failures:
        return NewCondition(kind, ConditionStatus.FALSE, Reason.EVALUATION_FAILED, "; ".join(failures))
    return NewCondition(kind, ConditionStatus.TRUE, Reason.EVALUATION_PASSED, "the final model passed every gate")
