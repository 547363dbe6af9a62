"""The estimate in the status: made once from the result of ``resolve``, and again when ``preflight`` has measured."""

from collections.abc import Callable, Collection, Sequence

from fusionrun.api.estimate import Basis, Estimate, MemoryEstimate, ModelEstimate
from fusionrun.api.result import StageResult
from fusionrun.api.spec import FusionRunSpec
from fusionrun.api.stage import ReferenceKind
from fusionrun.api.values import Preflighted, Resolved
from fusionrun.plan.estimate import MeasuredSteps, estimate
from fusionrun.plan.stages import Plan, Stage


def expected(
    before: Estimate | None,
    resolved: Sequence[StageResult],
    preflight: Sequence[StageResult],
    spec: FusionRunSpec,
    plan: Plan,
    needed: Collection[str],
    price: Callable[[Stage], float],
) -> Estimate | None:
    """Return the estimate; None if ``resolve`` has not reported the models, as releases up to 0.2.0 do not.

    There is none either if a number or text of the report does not fit the status: the run goes on without it.

    Parameters
    ----------
    before
        The estimate in the status. It does not change when stages end, or when their objects are deleted.
    resolved, preflight
        Results of the pods of ``resolve`` and of ``preflight/training``.
    """
    steps = _measured(preflight)
    if before is not None and (steps is None or any(row.basis == Basis.MEASURED for row in before.stages)):
        return before
    try:
        facts = before or _facts(resolved, plan)
    except ValueError:  # also pydantic's ValidationError
        return None
    if facts is None:
        return None
    parameters = {model.field: model.parameters for model in facts.models}
    made = estimate(spec, plan, parameters, needed, price, steps)
    return made.model_copy(update={"models": facts.models, "memory": facts.memory, "disk_bytes": facts.disk_bytes})


def _measured(results: Sequence[StageResult]) -> MeasuredSteps | None:
    values = results[0].values if results else None
    if not isinstance(values, Preflighted) or values.sft_step_seconds is None:
        return None
    return MeasuredSteps(values.sft_step_seconds, values.dpo_step_seconds)


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
