"""The limits of ``spec.budget``: when one is reached, the stages that cost something stop, and the others continue."""

from collections.abc import Callable
from dataclasses import dataclass

from fusionrun.api.records import MICRO
from fusionrun.plan.pods import has_price
from fusionrun.plan.stages import Stage
from fusionrun.state.decide.context import Context, Outcomes
from fusionrun.state.report.gpu_time import GPU_QUANTUM_SECONDS, SECONDS_PER_HOUR
from fusionrun.state.report.stage_status import ACTIVE, DONE


@dataclass(frozen=True)
class _Limit:
    """One limit, and what counts for it."""

    field: str
    maximum: float
    spent: float
    unit: str
    per_hour: Callable[[Stage], float]
    """What a stage uses up in an hour, as far as this is known in advance."""
    costs: Callable[[Stage], bool]
    """Whether a stage uses any."""


@dataclass(frozen=True)
class UsedUp:
    """A limit that is reached."""

    field: str
    message: str
    stages: frozenset[str]
    """The stages that stop or must not start."""


def used_up(context: Context, outcomes: Outcomes) -> UsedUp | None:
    """Return the first limit that is reached and that a stage needs which has not ended."""
    for limit in _limits(context, outcomes):
        if limit.spent < limit.maximum:
            continue
        costly = {s.name for s in context.pinned.plan.stages if limit.costs(s)}
        stages = [s.name for s in context.pinned.plan.stages if s.name in costly or s.server in costly]
        if left := frozenset(name for name in stages if outcomes.state(name) not in DONE):
            text = f"spec.budget.{limit.field}: {limit.maximum:g}: the run has used {limit.spent:.2f} {limit.unit}"
            return UsedUp(limit.field, f"{text}: raise the limit to resume", left)
    return None


def next_check(context: Context, outcomes: Outcomes) -> tuple[float, ...]:
    """Return in how many seconds each limit may be reached: time passes without an event."""
    active = [s for s in context.pinned.plan.stages if outcomes.state(s.name) in ACTIVE]
    times = []
    for limit in _limits(context, outcomes):
        if rate := sum(limit.per_hour(stage) for stage in active):
            left = (limit.maximum - limit.spent) * SECONDS_PER_HOUR / rate
            times.append(max(GPU_QUANTUM_SECONDS, left))
    return tuple(times)


def cost_micro(context: Context, outcomes: Outcomes) -> int:
    """Return the cost of the run so far in millionths: of its GPUs and its endpoints."""
    return context.gpu_time.cost_micro + sum(s.cost_micro or 0 for s in outcomes.statuses)


def _limits(context: Context, outcomes: Outcomes) -> list[_Limit]:
    budget, limits = context.pinned.spec.budget, []
    if budget and budget.max_gpu_hours is not None:
        spent = context.gpu_time.seconds / SECONDS_PER_HOUR
        limits.append(
            _Limit("maxGpuHours", budget.max_gpu_hours, spent, "GPU hours", context.gpus, lambda s: context.gpus(s) > 0)
        )
    if budget and budget.max_cost is not None:
        spent = cost_micro(context, outcomes) / MICRO
        currency, per_hour = context.settings.accelerators.currency, context.gpu_cost_per_hour
        unit = f"{currency} for GPUs and endpoints".strip()
        spec, settings = context.pinned.spec, context.settings
        limits.append(_Limit("maxCost", budget.max_cost, spent, unit, per_hour, lambda s: has_price(spec, settings, s)))
    return limits
