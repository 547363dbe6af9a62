"""Stages that check a run before its first model server starts: ``preflight``.

Every stage of a source that needs a GPU or an endpoint waits for them, and so does the server of the base model. A
check does not run if all stages that it protects are complete (``plan.graph.needed``).
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from fusionrun.api.artifacts import parameters_digest, stage_digest
from fusionrun.api.spec.pods import PodScheduling
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.spec.sources import Source
from fusionrun.api.spec.training import Sft
from fusionrun.api.stage import EvaluatedModel, PreflightSubject, StageKind
from fusionrun.api.tasks.parameters import PreflightParameters, PublishingCheckParameters, RewardCheckParameters
from fusionrun.errors import PlanError
from fusionrun.plan.families import publishing, training
from fusionrun.plan.families.judging import called_reward
from fusionrun.plan.families.responses import endpoint_digest
from fusionrun.plan.gpus import devices_of
from fusionrun.plan.pinned import PinnedPlan
from fusionrun.plan.pods import part_field, parts
from fusionrun.plan.references import REWARD, TARGET, References
from fusionrun.plan.stages import Plan, Stage, digest_data, stage_name
from fusionrun.settings import Images

_COSTLY = (StageKind.SERVE, StageKind.GENERATE, StageKind.SCORE)
"""Kinds of the stages of a source that need a GPU or an endpoint."""
_SCHEDULES = {"epochs", "learning_rate", "warmup_ratio", "save_steps", "beta", "length_normalized"}
"""Hyperparameters that change neither the memory nor the time of a step."""


def preflight_stages(spec: FusionRunSpec, references: References) -> list[Stage]:
    """Plan ``preflight`` for each subject."""
    if not spec.preflight.enabled:
        return []
    return [*_publishing(spec), _training(spec, references), _reward(spec, references)]


def wait_for_preflight(stages: Iterable[Stage]) -> list[Stage]:
    """Return the stages of a plan; those that cost something before training wait for the checks."""
    stages = list(stages)
    checks = tuple(stage.name for stage in stages if stage.kind is StageKind.PREFLIGHT)
    return [replace(s, after=(*s.after, *checks)) if _waits(s) else s for s in stages]


def _waits(stage: Stage) -> bool:
    early = isinstance(stage.subject, Source) or stage.subject is EvaluatedModel.BASE
    return early and stage.kind in _COSTLY


def _publishing(spec: FusionRunSpec) -> list[Stage]:
    """Plan the check of the destination in a pod of its own: ``resolve`` must not have credentials that can write."""
    if spec.publish is None:
        return []
    # Another Secret has another token, so the check is repeated.
    parameters = digest_data(spec.publish) | {"evenIfGateFailed": None}
    return [
        Stage(
            StageKind.PREFLIGHT,
            PreflightSubject.PUBLISHING,
            parameters=parameters,
            protects=(stage_name(StageKind.PUBLISH),),
        )
    ]


def _training(spec: FusionRunSpec, references: References) -> Stage:
    return Stage(
        StageKind.PREFLIGHT,
        PreflightSubject.TRAINING,
        parameters={
            "sft": _of_a_step(spec.training.sft),
            "dpo": _of_a_step(spec.training.dpo),
            **{name: value for name, value in training.shared_digest(spec).items() if name != "seed"},
            **training.template_digest(spec),
        },
        pins=(references.model(TARGET),),
        after=references.after(TARGET),
        backend=spec.training.backend,
        devices=devices_of(spec.training.resources),
        pods=spec.training.nodes,
        protects=(training.SFT, training.DPO),
    )


def _of_a_step(settings: Sft) -> dict[str, Any]:
    """Return the hyperparameters on which the memory and the time of a step depend."""
    return settings.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=_SCHEDULES)


def _reward(spec: FusionRunSpec, references: References) -> Stage:
    reward = spec.reward_model
    return Stage(
        StageKind.PREFLIGHT,
        PreflightSubject.REWARD,
        parameters={
            "maxLength": reward.max_length,
            "calibration": digest_data(reward.calibration),
            **endpoint_digest(reward.endpoint),
        },
        pins=(references.model(REWARD),) if reward.model else (),
        after=references.after(REWARD),
        endpoint=reward.endpoint,
        remote_code=reward.model is not None and reward.model.trust_remote_code,
        devices=devices_of(reward.resources) if reward.model else {},
        protects=tuple(stage_name(StageKind.SCORE, source) for source in spec.sources),
    )


def with_environment(plan: Plan, spec: FusionRunSpec, images: Images) -> Plan:
    """Return the plan with the image and the pod settings of each check in its parameters.

    A check must be repeated on other pods, unlike other stages, whose output does not depend on them. ``spec`` is that
    at acceptance, because the digests of a run must not change with its mutable fields.
    """
    stages = (
        replace(s, parameters=s.parameters | {"image": s.traits.image(images)} | _environment(spec, s))
        if s.kind is StageKind.PREFLIGHT
        else s
        for s in plan.stages
    )
    return replace(plan, stages=tuple(stages))


def _environment(spec: FusionRunSpec, stage: Stage) -> dict[str, Any]:
    """Return the mutable fields on which the result of a check depends. The GPU model is among them where it is set."""
    scheduling = spec.scheduling.model_dump(mode="json", by_alias=True, exclude_defaults=True, include=_POD_FIELDS)
    resources = stage.traits.resources(spec) if stage.traits.resources else None
    pod = next((part.settings for part in parts(spec) if part.field == part_field(stage)), None)
    environment = {"scheduling": scheduling, "resources": digest_data(resources), "pod": digest_data(pod)}
    if stage.subject is PreflightSubject.TRAINING:
        training = spec.training
        return environment | {"gradientCheckpointing": training.gradient_checkpointing, "offload": training.offload}
    return environment


def artifact_digest(pinned: PinnedPlan, stage: Stage) -> str:
    """Return the digest of the artifact that a check writes with the present values of the mutable fields.

    It differs from the frozen one if they have changed since the acceptance of the run: another run with the fields as
    they were must not reuse the result.
    """
    parameters = stage.parameters | _environment(pinned.spec, stage)
    if "image" not in stage.parameters or parameters == stage.parameters:
        return pinned.digests[stage.name]
    own = parameters_digest(stage.kind, stage.traits.version, parameters)
    return stage_digest(own, (pinned.pins[index] for index in stage.pins), ())


_POD_FIELDS = {*PodScheduling.model_fields, "gpu_runtime_class_name"}


def preflight_task(pinned: PinnedPlan, stage: Stage) -> PreflightParameters:
    """Return the task of ``preflight``."""
    spec = pinned.spec
    match stage.subject:
        case PreflightSubject.PUBLISHING as subject if spec.publish:
            destination = publishing.destination(spec.publish)
            return PreflightParameters(
                subject=subject,
                publishing=PublishingCheckParameters(destination=destination, hub_endpoint=pinned.publish_endpoint),
            )
        case PreflightSubject.TRAINING as subject:
            return PreflightParameters(subject=subject, sft=training.sft_trial(pinned), dpo=training.dpo_trial(pinned))
        case PreflightSubject.REWARD as subject:
            reward = spec.reward_model
            check = RewardCheckParameters.model_validate(
                {
                    "model_path": pinned.model(reward.model, "rewardModel.model") if reward.model else None,
                    "trust_remote_code": stage.remote_code,
                    "endpoint": called_reward(spec),
                    "max_length": reward.max_length,
                    "calibration": reward.calibration,
                }
            )
            return PreflightParameters(subject=subject, reward=check)
        case _:
            raise PlanError(f"{stage.name}: no such check")
