"""What follows for the run from a walk over its stages: its conditions, and whether everything has to stop."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from fusionrun.api.spec import FusionRunSpec
from fusionrun.api.status import ConditionStatus, ConditionType, FusionRunStatus, Reason, StageState
from fusionrun.state.decide.program_stages import Walk
from fusionrun.state.observe.observed import parse_time
from fusionrun.state.observe.pending_pods import NO_POD, for_long
from fusionrun.state.report import conditions, results
from fusionrun.state.report.conditions import Wanted
from fusionrun.state.report.stage_progress import GPU_QUANTUM_SECONDS
from fusionrun.state.report.stage_status import AT_WORK, DONE

SECONDS_PER_HOUR = 3600


def conclude(walk: Walk, before: FusionRunStatus) -> list[Wanted]:
    """Return the conditions that follow from a walk; stop what has to stop.

    Parameters
    ----------
    walk
        The walk, whose answer this changes when the run stops.
    before
        The run's status so far.
    """
    spec = walk.layout.spec
    if walk.failed:
        name, failure = walk.failed[0]
        message = f"stage {name} failed: {failure.message}"
        walk.stop(Reason.STAGE_FAILED, f"stopped, since stage {name} failed; what is finished is kept")
        return conditions.failed(Reason.STAGE_FAILED, message)
    if all(s.state in DONE for s in walk.statuses.values()):
        return [*conditions.complete("the fused model is made and measured"), _gate_condition(spec, walk)]
    if spec.suspend:
        walk.stop(Reason.SUSPENDED, "suspended")
        return conditions.suspended(Reason.SUSPENDED, "spec.suspend is true: set it to false to go on")
    spent = sum(s.gpu_seconds or 0 for s in walk.statuses.values()) / SECONDS_PER_HOUR
    limit = spec.budget.max_gpu_hours if spec.budget else None
    if limit is not None and spent >= limit:
        walk.stop(Reason.BUDGET_EXCEEDED, "suspended by the budget")
        text = f"spec.budget.maxGpuHours: {limit:g}: {spent:.2f} GPU hours are spent: raise it to go on"
        return conditions.suspended(Reason.BUDGET_EXCEEDED, text)
    deadline, since = spec.active_deadline_seconds, _active_since(before)
    if deadline and since and walk.now - since > timedelta(seconds=deadline):
        walk.stop(Reason.DEADLINE_EXCEEDED, "stopped at the deadline; what is finished is kept")
        text = f"spec.activeDeadlineSeconds: {deadline}: the run took longer; a new run reuses what is finished"
        return conditions.failed(Reason.DEADLINE_EXCEEDED, text)
    if deadline and since:
        walk.look_again((since + timedelta(seconds=deadline) - walk.now).total_seconds() + 1)
    held = sum(walk.layout.plan[n].gpus for n, s in walk.statuses.items() if s.state in AT_WORK)
    if limit is not None and held:
        walk.look_again(max(GPU_QUANTUM_SECONDS, (limit - spent) * SECONDS_PER_HOUR / held))
    return _in_progress(walk)


def _active_since(before: FusionRunStatus) -> datetime | None:
    """Return since when the run may work: its start, or when it was last resumed; None while it is suspended.

    So a Job counts its deadline, too. Source: Kubernetes, "Suspending a Job": the time of suspension does not count.
    """
    for condition in before.conditions:
        if condition.type is ConditionType.SUSPENDED:
            working = condition.status is ConditionStatus.FALSE
            return parse_time(condition.last_transition_time) if working else None
    return parse_time(before.start_time)


def _in_progress(walk: Walk) -> list[Wanted]:
    """Say what is at work, or what all is waiting for."""
    undone = [s for s in walk.layout.plan.stages if walk.statuses[s.name].state not in DONE]
    for missing in walk.missing:
        if any(missing.holds(stage) for stage in undone):
            walk.look_again(walk.settings.missing_seconds)
            return conditions.in_progress(missing.message, missing.reason)
    at_work = [n for n, s in walk.statuses.items() if s.state in AT_WORK]
    waiting = {n: s for n, s in walk.statuses.items() if s.state is StageState.WAITING and s.message}
    refused = [f"{n}: {s.message}" for n, s in waiting.items() if s.reason == Reason.OBJECT_REFUSED]
    if refused:
        return conditions.in_progress("; ".join(refused), Reason.OBJECT_REFUSED)
    if at_work:
        return _at_work(walk, at_work)
    return conditions.in_progress("; ".join(f"{n}: {s.message}" for n, s in waiting.items()) or "about to start")


def _at_work(walk: Walk, names: Sequence[str]) -> list[Wanted]:
    """Say what is at work and what of it waits for pods; when no pod runs at all, that is what the run waits for."""
    pending = {name: found for name, found in walk.pending.items() if name in names}
    waiting, again = for_long(pending, walk.now)
    if again is not None:
        walk.look_again(again)
    text = "; ".join(f"{name}: {found.message}" for name, found in waiting.items() if found.message)
    if waiting and all(name in pending and not pending[name].running for name in names):
        return conditions.in_progress(text or NO_POD, Reason.PODS_PENDING)
    at_work = f"at work: {', '.join(names)}"
    return conditions.in_progress(f"{at_work}; pending: {text}" if text else at_work)


def _gate_condition(spec: FusionRunSpec, walk: Walk) -> Wanted:
    if not spec.evaluation.gate:
        return ConditionType.EVALUATION_PASSED, None, Reason.NO_GATE, "spec.evaluation.gate names no condition"
    failures = results.gate_failures(spec.evaluation, walk.benchmarks)
    if failures:
        return ConditionType.EVALUATION_PASSED, False, Reason.EVALUATION_FAILED, "; ".join(failures)
    return ConditionType.EVALUATION_PASSED, True, Reason.EVALUATION_PASSED, "every gate is passed"
