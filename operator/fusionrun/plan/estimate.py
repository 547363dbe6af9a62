"""Estimate of GPU-hours, wall time and cost of a run, from amounts of data and sizes of models. Pure.

docs/preflight.md has the derivations. Seconds per step that ``preflight`` has measured replace those of training. Its
own GPU time, minutes, is left out.
"""

from collections.abc import Callable, Collection, Mapping
from math import ceil

from fusionrun.api.published.gpu_models import GpuModel
from fusionrun.api.spec.run import Budget, FusionRunSpec
from fusionrun.api.stage import StageKind
from fusionrun.api.status.estimate import Estimate, StageEstimate
from fusionrun.plan.amounts import amounts, unknown
from fusionrun.plan.requests import unknown_benchmarks
from fusionrun.plan.stage_estimate import Expected, Known, MeasuredSteps, PromptCounts, expected, model_field
from fusionrun.plan.stages import Evaluated, JudgeServer, Plan, Stage


def estimate(
    spec: FusionRunSpec,
    plan: Plan,
    parameters: Mapping[str, int | None],
    needed: Collection[str],
    price: Callable[[Stage], float],
    measured: MeasuredSteps | None = None,
    *,
    gpu: GpuModel | None = None,
    counted: PromptCounts | None = None,
) -> Estimate:
    """Return the estimate of the stages that have to run.

    Parameters
    ----------
    parameters
        Number of parameters by the field of each model; None if it is unknown.
    needed
        Names of the stages that have to run.
    price
        Cost of all GPUs of a stage for an hour.
    gpu
        The GPUs of the run; None if they are unknown.
    counted
        What ``prepare`` has counted so far.
    """
    known = Known(spec, parameters, measured or MeasuredSteps(), gpu, counted or PromptCounts())
    found = expected_stages(plan, needed, known)
    by_kind: dict[StageKind, list[tuple[Stage, Expected]]] = {}
    for stage, each in found:
        by_kind.setdefault(stage.kind, []).append((stage, each))
    rows = [_row(spec, kind, stages, price) for kind, stages in by_kind.items()]
    costs = [row.cost for row in rows if row.cost is not None]
    made = Estimate(
        stages=rows,
        gpu=gpu.name if gpu else None,
        gpu_hours=round(sum(row.gpu_hours for row in rows), 2) if rows else None,
        seconds=ceil(wall_seconds(spec, plan, found)) if rows else None,
        cost=round(sum(costs), 2) if costs else None,
        unknown=_unknown(plan, needed, known),
    )
    exceeded = dict.fromkeys(limit for _, each in found for limit in each.exceeds)
    return made.model_copy(update={"exceeds": [*exceeded, *_exceeded_budget(spec, made)]})


def expected_stages(plan: Plan, needed: Collection[str], known: Known) -> list[tuple[Stage, Expected]]:
    """Return what each stage that has to run is expected to need, in plan order; unknown ones are left out."""
    found = ((stage, expected(stage, known)) for stage in plan.stages if stage.name in needed)
    return [(stage, each) for stage, each in found if each is not None]


def wall_seconds(spec: FusionRunSpec, plan: Plan, found: Collection[tuple[Stage, Expected]]) -> float:
    """Return the wall time: the longest path through the plan, or more if ``gpuBudget`` or ``maxServers`` demands it.

    Stages without an estimate, and the time of loading models, count as nothing.
    """
    seconds = {stage.name: each.seconds for stage, each in found}
    ends: dict[str, float] = {}
    for stage in plan.stages:  # each after those that it needs
        waits_for = (*stage.needs, *([stage.server] if stage.server else []))
        ends[stage.name] = max((ends.get(name, 0.0) for name in waits_for), default=0.0) + seconds.get(stage.name, 0.0)
    budget, servers = spec.scheduling.gpu_budget, spec.scheduling.max_servers
    return max(
        *ends.values(),
        _gpu_seconds(found) / budget if budget else 0.0,
        sum(each.seconds for stage, each in found if stage.traits.is_server) / servers if servers else 0.0,
    )


def _row(
    spec: FusionRunSpec, kind: StageKind, stages: list[tuple[Stage, Expected]], price: Callable[[Stage], float]
) -> StageEstimate:
    gpu_seconds, budget = _gpu_seconds(stages), spec.scheduling.gpu_budget
    wall = max([each.seconds for _, each in stages] + ([gpu_seconds / budget] if budget else []))
    cost = sum(each.seconds / 3600 * price(stage) + each.endpoint_cost for stage, each in stages)
    return StageEstimate(
        kind=kind,
        gpu_hours=round(gpu_seconds / 3600, 2),
        seconds=ceil(wall),
        cost=round(cost, 2) or None,
        basis=stages[0][1].basis,
    )


def _gpu_seconds(found: Collection[tuple[Stage, Expected]]) -> float:
    return sum(each.seconds * stage.gpus for stage, each in found)


def unknown_amounts(spec: FusionRunSpec, counted: PromptCounts) -> list[str]:
    """Return the fields of the data sets and benchmarks with an unknown number of prompts or responses."""
    return [*unknown(amounts(spec, counted.datasets)), *unknown_benchmarks(spec, counted.benchmarks)]


def _unknown(plan: Plan, needed: Collection[str], known: Known) -> list[str]:
    """Return the data sets, benchmarks and models that the estimate leaves out because their size is unknown."""
    stages = [stage for stage in plan.stages if stage.name in needed and (stage.gpus or stage.endpoint)]
    fields = [field for field in map(model_field, stages) if field and not known.parameters.get(field)]
    evaluates = any(isinstance(stage.subject, Evaluated | JudgeServer) for stage in stages)
    benchmarks = unknown_benchmarks(known.spec, known.counted.benchmarks) if evaluates else []
    return list(dict.fromkeys([*(unknown(known.amounts) if stages else []), *benchmarks, *fields]))


def _exceeded_budget(spec: FusionRunSpec, made: Estimate) -> list[str]:
    budget = spec.budget or Budget()
    limits = {
        "budget.maxGpuHours": (budget.max_gpu_hours, made.gpu_hours),
        "budget.maxCost": (budget.max_cost, made.cost),
        "activeDeadlineSeconds": (spec.active_deadline_seconds, made.seconds),
    }
    return [name for name, (limit, use) in limits.items() if limit is not None and use is not None and use > limit]
