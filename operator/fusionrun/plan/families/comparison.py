"""The stage that compares the evaluated models question by question: ``compare``."""

from fusionrun.api.artifacts import QUESTION_SCORES_FILE
from fusionrun.api.evaluation_tasks import CompareParameters
from fusionrun.api.spec import FusionRunSpec
from fusionrun.api.stage import EvaluatedModel, StageKind
from fusionrun.plan.families.evaluation import benchmark_parameters, evaluate_stage
from fusionrun.plan.pinned import PinnedPlan
from fusionrun.plan.stages import Stage, stage_name

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
    pairs = [[first.value, second.value] for first, second in _PAIRS]
    inputs = tuple(map(evaluate_stage, EvaluatedModel))
    return [Stage(StageKind.COMPARE, parameters={"pairs": pairs}, inputs=inputs)]


def compare_task(pinned: PinnedPlan) -> CompareParameters:
    """Return the task of ``compare``: paired differences between the scores of the models."""
    return CompareParameters(
        benchmarks=benchmark_parameters(pinned.spec),
        scores={model.value: pinned.artifact(evaluate_stage(model), QUESTION_SCORES_FILE) for model in EvaluatedModel},
        pairs=[(first.value, second.value) for first, second in _PAIRS],
        seed=pinned.spec.construction.seed,
    )
