"""The task of a pod: the envelope here, the parameters from the family of the stage."""

from fusionrun.api.artifacts import DIGEST_LENGTH, artifact_dir, run_dir
from fusionrun.api.spec.target import MeasuredModel
from fusionrun.api.stage import EvaluatedModel, StageKind
from fusionrun.api.tasks.parameters import Parameters
from fusionrun.api.tasks.responses import GenerateParameters, VerifyParameters
from fusionrun.api.tasks.task import StageTask
from fusionrun.errors import PlanError
from fusionrun.plan.families import (
    comparison,
    construction,
    evaluation,
    inputs,
    judges,
    judging,
    preflight,
    prompts,
    publishing,
    responses,
    training,
)
from fusionrun.plan.families.responses import ServedModel
from fusionrun.plan.pinned import PinnedPlan
from fusionrun.plan.stages import Evaluated, JudgeServer, ReferenceSolutions, Stage


def build_task(pinned: PinnedPlan, stage: Stage, server_url: str = "") -> StageTask:
    """Build the task of a stage, except for ``serve``: it runs vLLM and no program of FusionRun.

    ``server_url`` is the base URL of the server, with ``/v1``, for ``generate``. For ``resolve``, the plan has no pins.
    """
    parameters = _parameters(pinned, stage, server_url)
    is_resolve = stage.kind is StageKind.RESOLVE
    digest = pinned.uid.replace("-", "")[:DIGEST_LENGTH] if is_resolve else artifact_digest(pinned, stage)
    return StageTask(
        run=pinned.name,
        namespace=pinned.namespace,
        stage=stage.name,
        digest=digest,
        output_dir=output_directory(pinned, stage),
        shards=stage.shards,
        workers=stage.completions if stage.shares_shards else None,
        gpus=stage.gpus_per_pod,
        parameters=parameters,
    )


def output_directory(pinned: PinnedPlan, stage: Stage) -> str:
    """Return the directory of the artifact of a stage; for a server, that of the stage that it serves."""
    if stage.kind is StageKind.RESOLVE:
        return run_dir(pinned.namespace, pinned.name, pinned.uid)
    if stage.traits.is_server:
        stage = pinned.plan.client_of(stage)
    return artifact_dir(stage.kind, artifact_digest(pinned, stage))


def artifact_digest(pinned: PinnedPlan, stage: Stage) -> str:
    """Return the digest of the artifact that the pods of a stage write."""
    check = stage.kind is StageKind.PREFLIGHT
    return preflight.artifact_digest(pinned, stage) if check else pinned.digests[stage.name]


def served_model(pinned: PinnedPlan, stage: Stage) -> ServedModel:
    """Return the model of a ``serve`` stage with the settings of its server."""
    match stage.subject:
        case EvaluatedModel() | MeasuredModel() as model:
            return evaluation.served_model(pinned, model)
        case JudgeServer():
            return judges.served_judge(pinned)
        case _:
            return responses.served_source(pinned, stage.source)


def _parameters(  # noqa: C901, PLR0911, PLR0912 -- one case per kind
    pinned: PinnedPlan, stage: Stage, server_url: str
) -> Parameters:
    match stage.kind:
        case StageKind.RESOLVE:
            return inputs.resolve_task(pinned)
        case StageKind.FETCH:
            return inputs.fetch_task(pinned, stage)
        case StageKind.PREPARE:
            return prompts.prepare_task(pinned, stage)
        case StageKind.PREFLIGHT:
            return preflight.preflight_task(pinned, stage)
        case StageKind.SERVE:
            raise PlanError(f"{stage.name}: a serve stage has no task")
        case StageKind.GENERATE:
            return _generate(pinned, stage, server_url)
        case StageKind.VERIFY:
            return _verify(pinned, stage)
        case StageKind.SCORE:
            return judging.score_task(pinned, stage, stage.source)
        case StageKind.CONSTRUCT:
            return construction.construct_task(pinned, stage)
        case StageKind.SFT:
            return training.sft_task(pinned)
        case StageKind.DPO:
            return training.dpo_task(pinned)
        case StageKind.PROMOTE:
            return training.promote_task(pinned)
        case StageKind.JUDGE:
            return judges.judge_task(pinned, stage, stage.evaluated_model, server_url)
        case StageKind.EVALUATE:
            return evaluation.evaluate_task(pinned, stage, stage.evaluated_model)
        case StageKind.COMPARE:
            return comparison.compare_task(pinned)
        case StageKind.PUBLISH:
            return publishing.publish_task(pinned)


def _generate(pinned: PinnedPlan, stage: Stage, server_url: str) -> GenerateParameters:
    if isinstance(stage.subject, Evaluated):
        return evaluation.generate_task(pinned, stage, stage.subject, server_url)
    return responses.generate_task(pinned, stage, stage.source, server_url)


def _verify(pinned: PinnedPlan, stage: Stage) -> VerifyParameters:
    match stage.subject:
        case ReferenceSolutions():
            return judging.solutions_task(pinned, stage)
        case EvaluatedModel() | MeasuredModel() as model:
            return evaluation.verify_task(pinned, stage, model)
        case _:
            return judging.verify_task(pinned, stage, stage.source)
