"""The stage that compares the evaluated models question by question: ``compare``."""

from fusionrun.api.artifacts import QUESTION_SCORES_FILE
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.stage import EvaluatedModel, StageKind
from fusionrun.api.tasks.evaluation import CompareParameters
from fusionrun.plan.families.evaluation import benchmark_parameters, evaluate_stage, evaluated_models
from fusionrun.plan.pinned import PinnedPlan
from fusionrun.plan.stages import Evaluated, Stage, model_name, stage_name

COMPARE = stage_name(StageKind.COMPARE)
_PAIRS = [
    (EvaluatedModel.SFT, EvaluatedModel.BASE),
    (EvaluatedModel.FINAL, EvaluatedModel.BASE),
    (EvaluatedModel.FINAL, EvaluatedModel.SFT),
]
"""Each model is compared with those before it."""


def compare_stages(spec: FusionRunSpec) -> list[Stage]:
    """Plan ``compare``, if there are benchmarks."""
    if not spec.evaluation.benchmarks:
        return []
    pairs = [list(pair) for pair in compared(spec)]
    inputs = tuple(map(evaluate_stage, evaluated_models(spec)))
    return [Stage(StageKind.COMPARE, parameters={"pairs": pairs}, inputs=inputs)]


def compared(spec: FusionRunSpec) -> list[tuple[str, str]]:
    """Return the names of the models to compare: each first against its second.

    Models of ``evaluateOnly`` are compared with the baseline.
    """
    if spec.evaluate_only is None:
        return [(first.value, second.value) for first, second in _PAIRS]
    baseline = _baseline(spec)
    return [(m.name, model_name(baseline)) for m in spec.evaluate_only.models if m is not baseline]


def _baseline(spec: FusionRunSpec) -> Evaluated:
    models = spec.evaluate_only.models if spec.evaluate_only else []
    wanted = spec.evaluate_only.baseline if spec.evaluate_only else None
    return next((m for m in models if m.name == wanted), models[0] if models else EvaluatedModel.BASE)


def compare_task(pinned: PinnedPlan) -> CompareParameters:
    """Return the task of ``compare``: paired differences between the scores of the models."""
    return CompareParameters(
        # The families differ in prompts and sampling, which this stage does not read.
        benchmarks=benchmark_parameters(pinned.spec, _baseline(pinned.spec)),
        scores={
            model_name(model): pinned.artifact(evaluate_stage(model), QUESTION_SCORES_FILE)
            for model in evaluated_models(pinned.spec)
        },
        pairs=compared(pinned.spec),
        seed=pinned.spec.construction.seed,
    )
