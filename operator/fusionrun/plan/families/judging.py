"""Stages that judge the responses of a source: ``verify`` by rule, ``score`` by the reward model."""

from typing import Any

from fusionrun.api import artifacts
from fusionrun.api.data import Grader, Task
from fusionrun.api.models import Source, SourceType
from fusionrun.api.parameters import RewardEndpointParameters, ScoreParameters, VerifyParameters
from fusionrun.api.pod import API_KEY_ENV
from fusionrun.api.spec import FusionRunSpec
from fusionrun.api.stage import StageKind
from fusionrun.plan.families.prompts import PROMPTS
from fusionrun.plan.families.responses import datasets_of, responses_dir, responses_stage
from fusionrun.plan.families.verification import grader_of, verify_parameters, verify_stage
from fusionrun.plan.gpus import gpu_count
from fusionrun.plan.pinned import PinnedPlan
from fusionrun.plan.references import REWARD, References
from fusionrun.plan.stages import Stage, digest_data, stage_name

GRADERS = {Task.MATHEMATICS: Grader.MATHEMATICS, Task.CODING: Grader.CODING}
"""Graders of the tasks whose responses are judged by rule."""


def judging_stages(spec: FusionRunSpec, references: References) -> list[Stage]:
    """Plan ``verify`` and ``score`` for each source."""
    stages: list[Stage] = []
    for source in spec.sources:
        stages += [_verify(spec, source, grader) for grader in graders_of(spec, source)]
        stages.append(_score(spec, source, references))
    return stages


def graders_of(spec: FusionRunSpec, source: Source) -> list[Grader]:
    """Return the graders that judge responses of a source."""
    return [grader for grader in GRADERS.values() if _graded_datasets(spec, source, grader)]


def verdicts_stages(spec: FusionRunSpec, source: Source) -> list[str]:
    """Return the stages that write verdicts on the responses of a source."""
    return [stage_name(StageKind.VERIFY, source, grader) for grader in graders_of(spec, source)]


def _graded_datasets(spec: FusionRunSpec, source: Source, grader: Grader) -> list[str]:
    """Return the data sets with prompts for a grader to which the responses of a source may belong.

    If two data sets of a task have the same prompt, the first keeps it, with the responses that the second provides.
    For a source whose responses come from data sets, these are all data sets up to the last that provides some.
    """
    names = [d.name for d in spec.datasets if GRADERS.get(d.task) is grader]
    answered = [d.name for d in datasets_of(spec, source) if d.name in names]
    if source.type is not SourceType.DATASET or not answered:
        return answered
    return names[: names.index(answered[-1]) + 1]


def _inputs(source: Source) -> tuple[str, ...]:
    return tuple(dict.fromkeys((PROMPTS, responses_stage(source))))


def _verify(spec: FusionRunSpec, source: Source, grader: Grader) -> Stage:
    datasets, generation = _graded_datasets(spec, source, grader), spec.generation
    return verify_stage(source, grader, datasets, _inputs(source), generation.shards, generation.parallelism)


def verify_task(pinned: PinnedPlan, stage: Stage, source: Source) -> VerifyParameters:
    """Return the task of ``verify``: judge the responses of a source by rule."""
    datasets = _graded_datasets(pinned.spec, source, grader_of(stage))
    return verify_parameters(
        stage, datasets, pinned.artifact(PROMPTS, artifacts.PROMPTS), responses_dir(pinned, source)
    )


def _score(spec: FusionRunSpec, source: Source, references: References) -> Stage:
    reward = spec.reward_model
    parameters: dict[str, Any] = {
        "source": source.name,
        "maxLength": reward.max_length,
        "calibration": digest_data(reward.calibration),
    }
    if reward.endpoint:
        parameters["endpoint"] = {"url": reward.endpoint.url, "model": reward.endpoint.model}
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
        gpus=gpu_count(reward.resources) if reward.model else 0,
    )


def score_task(pinned: PinnedPlan, stage: Stage, source: Source) -> ScoreParameters:
    """Return the task of ``score``: score the responses of a source with the reward model."""
    reward = pinned.spec.reward_model
    return ScoreParameters(
        source=source.name,
        model_path=pinned.model(reward.model, "rewardModel.model") if reward.model else None,
        trust_remote_code=bool(reward.model and reward.model.trust_remote_code),
        endpoint=_endpoint(pinned.spec),
        prompts_dir=pinned.artifact(PROMPTS, artifacts.PROMPTS),
        responses_dir=responses_dir(pinned, source),
        shards=stage.shards or 1,
        batch_size=reward.batch_size,
        max_length=reward.max_length,
        calibration=reward.calibration,
    )


def _endpoint(spec: FusionRunSpec) -> RewardEndpointParameters | None:
    endpoint = spec.reward_model.endpoint
    if endpoint is None:
        return None
    return RewardEndpointParameters(
        base_url=endpoint.url,
        model=endpoint.model,
        api_key_env=API_KEY_ENV if endpoint.api_key_secret_ref else None,
        concurrency=spec.reward_model.batch_size,
        stall_seconds=spec.generation.stall_seconds,
    )
