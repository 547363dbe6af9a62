"""Stages that judge responses: ``verify`` by rule, ``score`` by the reward model."""

from typing import Any

from fusionrun.api import artifacts
from fusionrun.api.spec.data import Generation, Task
from fusionrun.api.spec.evaluation import Grader
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.spec.sources import Source, SourceType
from fusionrun.api.stage import StageKind
from fusionrun.api.tasks.responses import RewardEndpointParameters, ScoreParameters, VerifyParameters
from fusionrun.errors import PlanError
from fusionrun.plan.families.prompts import PROMPTS, datasets_with_solutions
from fusionrun.plan.families.responses import (
    api_key_env,
    datasets_of,
    endpoint_digest,
    responses_dir,
    responses_stage,
)
from fusionrun.plan.gpus import devices_of
from fusionrun.plan.pinned import PinnedPlan
from fusionrun.plan.references import REWARD, References
from fusionrun.plan.stages import ReferenceSolutions, Stage, StageSubject, digest_data, stage_name, subject_name

GRADERS = {Task.MATHEMATICS: Grader.MATHEMATICS, Task.CODING: Grader.CODING}
"""Graders of the tasks whose responses are judged by rule."""


def judging_stages(spec: FusionRunSpec, references: References) -> list[Stage]:
    """Plan ``verify`` and ``score`` for each source."""
    stages: list[Stage] = []
    for source in spec.sources:
        graded = {grader: _graded_datasets(spec, source, grader) for grader in GRADERS.values()}
        stages += [
            verify_stage(source, g, names, _inputs(source), spec.generation) for g, names in graded.items() if names
        ]
        stages.append(_score(spec, source, references))
    return stages


def verdicts_stages(spec: FusionRunSpec, source: Source) -> list[str]:
    """Return the stages that write verdicts on the responses of a source."""
    graders = [grader for grader in GRADERS.values() if _graded_datasets(spec, source, grader)]
    return [stage_name(StageKind.VERIFY, source, grader) for grader in graders]


def _graded_datasets(spec: FusionRunSpec, source: Source, grader: Grader) -> list[str]:
    """Return the data sets with prompts for a grader to which the responses of a source may belong.

    If two data sets of a task have the same prompt, the first keeps it, with the responses that the second provides. So
    the responses of a source of type Dataset may belong to any data set up to the last one that provides some.
    """
    names = [d.name for d in spec.datasets if GRADERS.get(d.task) is grader]
    of_source = [d.name for d in datasets_of(spec, source) if d.name in names]
    if source.type is not SourceType.DATASET or not of_source:
        return of_source
    return names[: names.index(of_source[-1]) + 1]


def _inputs(source: Source) -> tuple[str, ...]:
    return tuple(dict.fromkeys((PROMPTS, responses_stage(source))))


def verify_task(pinned: PinnedPlan, stage: Stage, source: Source) -> VerifyParameters:
    """Return the task of ``verify``: judge the responses of a source by rule."""
    datasets = _graded_datasets(pinned.spec, source, _grader(stage))
    return verify_parameters(pinned, stage, datasets, PROMPTS, responses_dir(pinned, source))


def solutions_stages(spec: FusionRunSpec) -> list[Stage]:
    """Plan ``verify`` for the reference solutions. Prompts with a wrong one are dropped before generation."""
    datasets, solutions = datasets_with_solutions(spec), ReferenceSolutions()
    return [verify_stage(solutions, Grader.CODING, datasets, (PROMPTS,), spec.generation)] if datasets else []


def solutions_task(pinned: PinnedPlan, stage: Stage) -> VerifyParameters:
    """Return the task of ``verify``: run the reference solutions against the tests of their prompts."""
    solutions = pinned.artifact(PROMPTS, artifacts.SOLUTIONS)
    return verify_parameters(pinned, stage, datasets_with_solutions(pinned.spec), PROMPTS, solutions)


def verify_stage(
    subject: StageSubject, grader: Grader, names: list[str], inputs: tuple[str, ...], shards: Generation | None = None
) -> Stage:
    """Plan ``verify`` of the responses to the data sets or benchmarks ``names``: in the given shards, or in one."""
    parameters = {"grader": grader, "datasets": names, "source": subject_name(subject)}
    count, parallelism = (shards.shards, shards.parallelism) if shards else (1, 1)
    return Stage(
        StageKind.VERIFY, subject, grader, parameters=parameters, inputs=inputs, shards=count, parallelism=parallelism
    )


def _grader(stage: Stage) -> Grader:
    if stage.grader is None:
        raise PlanError(f"{stage.name}: a verify stage has a grader")
    return stage.grader


def verify_parameters(
    pinned: PinnedPlan, stage: Stage, datasets: list[str], prompts_stage: str, responses_dir: str
) -> VerifyParameters:
    """Return the task of ``verify``: judge the responses in a directory."""
    return VerifyParameters(
        grader=_grader(stage),
        datasets=datasets,
        source=stage.subject_name,
        prompts_dir=pinned.artifact(prompts_stage, artifacts.PROMPTS),
        responses_dir=responses_dir,
        shards=stage.shards or 1,
    )


def _score(spec: FusionRunSpec, source: Source, references: References) -> Stage:
    reward = spec.reward_model
    parameters: dict[str, Any] = {
        "source": source.name,
        "maxLength": reward.max_length,
        "calibration": digest_data(reward.calibration),
        **endpoint_digest(reward.endpoint),
    }
    return Stage(
        StageKind.SCORE,
        source,
        parameters=parameters,
        pins=(references.model(REWARD),) if reward.model else (),
        inputs=_inputs(source),
        after=references.after(REWARD),
        endpoint=reward.endpoint,
        remote_code=reward.model is not None and reward.model.trust_remote_code,
        shards=spec.generation.shards,
        parallelism=reward.replicas,
        shares_shards=True,
        devices=devices_of(reward.resources) if reward.model else {},
        pods=min(reward.replicas, spec.generation.shards),
    )


def score_task(pinned: PinnedPlan, stage: Stage, source: Source) -> ScoreParameters:
    """Return the task of ``score``: score the responses of a source with the reward model."""
    reward = pinned.spec.reward_model
    return ScoreParameters(
        source=source.name,
        model_path=pinned.model(reward.model, "rewardModel.model") if reward.model else None,
        trust_remote_code=stage.remote_code,
        endpoint=called_reward(pinned.spec),
        prompts_dir=pinned.artifact(PROMPTS, artifacts.PROMPTS),
        responses_dir=responses_dir(pinned, source),
        shards=stage.shards or 1,
        batch_size=reward.batch_size,
        max_batch_tokens=reward.max_batch_tokens if reward.model else None,
        max_length=reward.max_length,
        calibration=reward.calibration,
    )


def called_reward(spec: FusionRunSpec) -> RewardEndpointParameters | None:
    """Return the reward model behind an endpoint, if the run calls one."""
    reward = spec.reward_model
    if reward.endpoint is None:
        return None
    return RewardEndpointParameters(
        base_url=reward.endpoint.url,
        model=reward.endpoint.model,
        api_key_env=api_key_env(reward.endpoint),
        concurrency=reward.batch_size,
        stall_seconds=spec.generation.stall_seconds,
    )
