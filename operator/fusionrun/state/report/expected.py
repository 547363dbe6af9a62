"""The estimate in the status: made from the result of ``resolve``, and again when a stage before the servers says more.

``prepare`` counts prompts, and ``preflight`` measures steps of training.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from fusionrun.api.published.gpu_models import GpuModel, gpu_model
from fusionrun.api.results.result import StageResult
from fusionrun.api.results.values import Preflighted, Prepared, Resolved
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.stage import ReferenceKind
from fusionrun.api.status.estimate import Basis, Estimate, MemoryEstimate, ModelEstimate
from fusionrun.plan.estimate import estimate, unknown_amounts
from fusionrun.plan.stage_estimate import MeasuredSteps, PromptCounts
from fusionrun.plan.stages import Plan, Stage


@dataclass(frozen=True)
class EarlyResults:
    """Results of the pods of the stages before the first model server."""

    resolve: Sequence[StageResult] = ()
    preflight: Sequence[StageResult] = ()
    """Of ``preflight/training``."""
    prompts: Sequence[StageResult] = ()
    benchmarks: Sequence[StageResult] = ()

    @property
    def counted(self) -> PromptCounts:
        """The prompts by data set and by benchmark."""
        return PromptCounts(_counts(self.prompts), _counts(self.benchmarks))


def expected(
    before: Estimate | None,
    results: EarlyResults,
    spec: FusionRunSpec,
    plan: Plan,
    needed: Collection[str],
    price: Callable[[Stage], float],
    gpu: GpuModel | None,
) -> Estimate | None:
    """Return the estimate; None if ``resolve`` has not reported the models, as releases up to 0.2.0 do not.

    There is none either if a number or text of the report does not fit the status: the run goes on without it.

    Parameters
    ----------
    before
        The estimate in the status. It does not change when stages end, or when their objects are deleted.
    gpu
        The GPUs of the nodes, if they are known.
    """
    steps, counted = _measured(results.preflight), results.counted
    if before is not None and not (_measures(before, steps) or _counts_more(before, counted, spec)):
        return before
    try:
        facts = before or _facts(results.resolve, plan)
        if facts is None:
            return None
        parameters = {model.field: model.parameters for model in facts.models}
        found = gpu_model(facts.gpu or "") or gpu or _gpu(results.preflight)
        made = estimate(spec, plan, parameters, needed, price, steps, gpu=found, counted=counted)
    except ValueError:  # also pydantic's ValidationError
        return None
    return made.model_copy(update={"models": facts.models, "memory": facts.memory, "disk_bytes": facts.disk_bytes})


def _measures(before: Estimate, steps: MeasuredSteps | None) -> bool:
    return steps is not None and all(row.basis != Basis.MEASURED for row in before.stages)


def _counts_more(before: Estimate, counted: PromptCounts, spec: FusionRunSpec) -> bool:
    """Return whether ``prepare`` has counted what the estimate leaves out."""
    fields = {f"datasets[{name}]" for name in counted.datasets}
    fields |= {f"evaluation.benchmarks[{name}]" for name in counted.benchmarks}
    fields &= set(before.unknown)
    # The responses that a data set contains stay unknown.
    return bool(fields) and not fields <= set(unknown_amounts(spec, counted))


def _measured(results: Sequence[StageResult]) -> MeasuredSteps | None:
    values = results[0].values if results else None
    if not isinstance(values, Preflighted) or values.sft_step_seconds is None:
        return None
    return MeasuredSteps(values.sft_step_seconds, values.dpo_step_seconds)


def _gpu(results: Sequence[StageResult]) -> GpuModel | None:
    values = results[0].values if results else None
    return gpu_model(values.gpu or "") if isinstance(values, Preflighted) else None


def _counts(results: Sequence[StageResult]) -> dict[str, int]:
    return {
        name: count
        for result in results
        if isinstance(result.values, Prepared)
        for name, count in result.values.by_dataset.items()
    }


def _facts(results: Sequence[StageResult], plan: Plan) -> Estimate | None:
    values = results[0].values if results else None
    fields = [r.field for r in plan.references if r.kind is ReferenceKind.MODEL]
    if not isinstance(values, Resolved) or len(values.parameters) != len(fields):
        return None
    licences = values.licences or [None] * len(fields)
    facts = zip(fields, values.parameters, values.weights_bytes, licences, strict=True)
    models = [ModelEstimate(field=f, parameters=p, bytes=size or None, licence=text) for f, p, size, text in facts]
    memory = [MemoryEstimate(field=name, bytes=size) for name, size in values.memory_bytes.items()]
    return Estimate(models=models, memory=memory, disk_bytes=values.disk_bytes)
