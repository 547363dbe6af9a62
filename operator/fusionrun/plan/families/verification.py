"""The ``verify`` stage, which judges by rule: reference solutions, responses of sources and of evaluated models."""

from fusionrun.api.data import Grader
from fusionrun.api.parameters import VerifyParameters
from fusionrun.api.stage import StageKind
from fusionrun.errors import PlanError
from fusionrun.plan.stages import Stage, StageSubject, subject_name


def verify_stage(
    subject: StageSubject,
    grader: Grader,
    datasets: list[str],
    inputs: tuple[str, ...],
    shards: int,
    parallelism: int = 1,
) -> Stage:
    """Plan ``verify`` for a subject and a grader; ``datasets`` are the data sets or benchmarks to judge."""
    parameters = {"grader": grader, "datasets": datasets, "source": subject_name(subject)}
    return Stage(
        StageKind.VERIFY, subject, grader, parameters=parameters, inputs=inputs, shards=shards, parallelism=parallelism
    )


def grader_of(stage: Stage) -> Grader:
    """Return the grader of a ``verify`` stage."""
    if stage.grader is None:
        raise PlanError(f"{stage.name}: a verify stage has a grader")
    return stage.grader


def verify_parameters(stage: Stage, datasets: list[str], prompts_dir: str, responses_dir: str) -> VerifyParameters:
    """Return the task of ``verify``: judge the responses in a directory."""
    return VerifyParameters(
        grader=grader_of(stage),
        datasets=datasets,
        source=stage.subject_name,
        prompts_dir=prompts_dir,
        responses_dir=responses_dir,
        shards=stage.shards or 1,
    )
