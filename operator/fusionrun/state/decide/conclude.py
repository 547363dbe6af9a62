"""The conditions of a run from the outcomes of its stages, and whether every stage must stop."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.stage import StageKind
from fusionrun.api.status.conditions import ConditionStatus, ConditionType, Reason
from fusionrun.api.status.run import FusionRunStatus
from fusionrun.api.status.stages import StageState, StageStatus
from fusionrun.names import ANNOTATION_RETRY
from fusionrun.plan.stages import Stage
from fusionrun.state.decide.budget import UsedUp, next_check, used_up
from fusionrun.state.decide.context import Context, Outcomes
from fusionrun.state.decide.limits import limits_of
from fusionrun.state.observe.pending_pods import NO_POD, overdue
from fusionrun.state.report import conditions
from fusionrun.state.report.active_time import STEP, active_seconds
from fusionrun.state.report.conditions import NewCondition
from fusionrun.state.report.gate import gate_results
from fusionrun.state.report.stage_status import ACTIVE, DONE

STARTS_SOON = (Reason.WAITING_FOR_GPUS, Reason.BACK_OFF, Reason.PODS_PENDING, Reason.QUEUED, Reason.OBJECT_RESTORED)
"""Reasons of a stage that waits, and that the run itself starts. ``WaitingForGpus``: for those of its other stages."""


@dataclass(frozen=True)
class Conclusion:
    """The conditions of a run, and whether its stages stop."""

    conditions: list[NewCondition]
    stop: tuple[Reason, str] | None = None
    """If stages must stop: the reason and the message for the unfinished ones."""
    stopped: frozenset[str] | None = None
    """The stages that must stop; None for every stage."""
    requeue_seconds: tuple[float, ...] = ()
    """Times after which another reconcile is due."""


def conclude(context: Context, outcomes: Outcomes, before: FusionRunStatus) -> Conclusion:
    """Return the conditions of the run, and whether its stages stop."""
    continues = _without_failures(context, outcomes, before)
    if not outcomes.failures:
        return continues
    checks = [] if continues.stop else _other_checks(context, outcomes)
    text = "; ".join(f"stage {name} failed: {failure.message}" for name, failure in outcomes.failures)
    names = ", ".join(name for name, _ in outcomes.failures)
    stop = (Reason.STAGE_FAILED, f"stopped because stage {names} failed; finished artifacts are kept")
    if not checks:
        return Conclusion(conditions.failed(Reason.STAGE_FAILED, text), stop)
    return Conclusion(
        conditions.in_progress(f"{text}; the run fails when the other checks have ended: {', '.join(checks)}"),
        stop,
        stopped=frozenset(s.name for s in outcomes.statuses if s.name not in checks),
        requeue_seconds=continues.requeue_seconds,
    )


def _other_checks(context: Context, outcomes: Outcomes) -> list[str]:
    """Return the checks that end before a failed one fails the run, so that one message has the faults of all.

    A check that waits for something outside the run, such as a Secret, delays no failure.
    """
    checks = [s for s in context.pinned.plan.stages if s.kind is StageKind.PREFLIGHT]
    if not {s.name for s in checks}.issuperset(name for name, _ in outcomes.failures):
        return []
    return [s.name for s in checks if _will_end(context, s, outcomes.stages[s.name].status)]


def _will_end(context: Context, stage: Stage, status: StageStatus) -> bool:
    """Return whether a check is active, or waits for something that the run itself provides."""
    starts = status.state is StageState.WAITING and status.reason in STARTS_SOON
    return status.state in ACTIVE or (starts and limits_of(context).allow(context.gpus(stage), 0))


def _without_failures(context: Context, outcomes: Outcomes, before: FusionRunStatus) -> Conclusion:
    """Return the conclusion on a run of which no stage failed."""
    spec, now = context.pinned.spec, context.now
    if all(s.state in DONE for s in outcomes.statuses):
        complete = conditions.complete(
            "the models are evaluated" if spec.evaluate_only else "the model is trained and evaluated"
        )
        return Conclusion([*complete, _gate_condition(spec, outcomes)])
    if spec.suspend:
        text = "spec.suspend is true: set it to false to resume"
        return Conclusion(conditions.suspended(Reason.SUSPENDED, text), stop=(Reason.SUSPENDED, "suspended"))
    budget = used_up(context, outcomes)
    if budget and not _others(outcomes, budget):
        return replace(_over(budget), conditions=conditions.suspended(Reason.BUDGET_EXCEEDED, budget.message))
    deadline, active = spec.active_deadline_seconds, active_seconds(before, now)
    if deadline and active > deadline:
        text = (
            f"spec.activeDeadlineSeconds: {deadline}: the run exceeded its deadline: "
            f"raise it and retry the run (annotation {ANNOTATION_RETRY})"
        )
        return Conclusion(
            conditions.failed(Reason.DEADLINE_EXCEEDED, text),
            stop=(Reason.DEADLINE_EXCEEDED, "stopped at spec.activeDeadlineSeconds; finished artifacts are kept"),
        )
    requeue: list[float] = []
    progress = _in_progress(context, outcomes)
    if budget:
        text = f"{budget.message}; running: {', '.join(_others(outcomes, budget))}"
        progress = replace(
            _over(budget),
            conditions=conditions.in_progress(text, Reason.BUDGET_EXCEEDED),
            requeue_seconds=progress.requeue_seconds,
        )
    if deadline:
        requeue.append(min(deadline - active + 1.0, STEP.total_seconds()))
    requeue += next_check(context, outcomes)
    return replace(progress, requeue_seconds=(*requeue, *progress.requeue_seconds))


def _others(outcomes: Outcomes, budget: UsedUp) -> list[str]:
    """Return the running stages that cost nothing, and so continue when a budget is used up."""
    return [s.name for s in outcomes.statuses if s.state in ACTIVE and s.name not in budget.stages]


def _over(budget: UsedUp) -> Conclusion:
    """Stop the stages that cost something; the conditions are added."""
    text = f"suspended: spec.budget.{budget.field} is used up"
    return Conclusion([], stop=(Reason.BUDGET_EXCEEDED, text), stopped=budget.stages)


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
        if reasons == {Reason.QUEUED}:
            reason = Reason.QUEUED
        return Conclusion(conditions.in_progress(text or NO_POD, reason), requeue_seconds=requeue)
    message = f"running: {', '.join(names)}" + _waiting(outcomes) + (f"; pending: {text}" if text else "")
    if ignored := [name for name in names if outcomes.stages[name].status.reason == Reason.QUEUE_IGNORED]:
        message += f"; outside the quota, because Kueue ignores them: {', '.join(ignored)}"
    return Conclusion(conditions.in_progress(message), requeue_seconds=requeue)


def _waiting(outcomes: Outcomes) -> str:
    """Name the stages that could run but for the reason in their status; clients wait for their server."""
    waiting = [s for s in outcomes.statuses if s.state is StageState.WAITING and s.reason != Reason.WAITING_FOR_SERVER]
    return f"; waiting: {', '.join(s.name for s in waiting)}" if waiting else ""


def _gate_condition(spec: FusionRunSpec, outcomes: Outcomes) -> NewCondition:
    kind = ConditionType.EVALUATION_PASSED
    if not spec.evaluation.gate:
        return NewCondition(kind, ConditionStatus.UNKNOWN, Reason.NO_GATE, "spec.evaluation.gate is empty")
    gates = gate_results(spec.evaluation, outcomes.benchmarks)
    failures = [gate.message for gate in gates if not gate.passed]
    if failures:
        return NewCondition(kind, ConditionStatus.FALSE, Reason.EVALUATION_FAILED, "; ".join(failures))
    text = "; ".join(["the final model passed every gate", *(gate.message for gate in gates)])
    return NewCondition(kind, ConditionStatus.TRUE, Reason.EVALUATION_PASSED, text)
