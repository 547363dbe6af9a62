"""Stages that train the target: ``sft``, ``dpo``, and ``promote``, which chooses the checkpoint."""

from typing import Any

from fusionrun.api import artifacts
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.spec.target import Family
from fusionrun.api.spec.training import Sft, Tracker
from fusionrun.api.stage import StageKind
from fusionrun.api.tasks.training import DpoParameters, MlflowParameters, PromoteParameters, SftParameters
from fusionrun.plan.families.construction import CONSTRUCT
from fusionrun.plan.gpus import devices_of, for_one_gpu
from fusionrun.plan.pinned import PinnedPlan
from fusionrun.plan.recipe import chat_template
from fusionrun.plan.references import TARGET, References
from fusionrun.plan.stages import Stage, digest_data, stage_name

SFT = stage_name(StageKind.SFT)
DPO = stage_name(StageKind.DPO)
PROMOTE = stage_name(StageKind.PROMOTE)


def shared_digest(spec: FusionRunSpec) -> dict[str, Any]:
    """Return the settings of both trainings that change their results."""
    training = spec.training
    shared: dict[str, Any] = {
        "nodes": training.nodes,
        "processesPerNode": training.processes_per_node,
        "precision": training.precision,
        "zeroStage": training.zero_stage,
        "seed": training.seed,
    }
    if training.lora is not None:
        shared["lora"] = digest_data(training.lora)
    if spec.trained.family is Family.GEMMA_2:
        # Earlier releases trained it without soft-capping: their artifacts must not be reused.
        shared["attention"] = "SoftCapped"
    return shared


def template_digest(spec: FusionRunSpec) -> dict[str, Any]:
    """Return the chat template of training for a digest; nothing for the tokenizer's own."""
    template = chat_template(spec.trained)
    return {"chatTemplate": template} if template else {}


def _shared_task(pinned: PinnedPlan, settings: Sft, model_path: str, data_path: str) -> dict[str, Any]:
    training = pinned.spec.training
    return {
        **dict(settings),
        "model_path": model_path,
        "data_path": data_path,
        "zero_stage": training.zero_stage,
        "precision": training.precision,
        "gradient_checkpointing": training.gradient_checkpointing,
        "seed": training.seed,
        "offload": training.offload,
        "lora": training.lora,
        "report_to": training.report_to,
        "mlflow": _mlflow(pinned),
    }


def _mlflow(pinned: PinnedPlan) -> MlflowParameters | None:
    training = pinned.spec.training
    if training.mlflow is None or Tracker.MLFLOW not in training.report_to:
        return None
    experiment = training.mlflow.experiment or pinned.name
    return MlflowParameters(tracking_uri=training.mlflow.tracking_uri, experiment=experiment)


def sft_stages(spec: FusionRunSpec, references: References) -> list[Stage]:
    """Plan ``sft``."""
    return [
        Stage(
            StageKind.SFT,
            parameters={"sft": digest_data(spec.training.sft), **shared_digest(spec), **template_digest(spec)},
            pins=(references.model(TARGET),),
            inputs=(CONSTRUCT,),
            after=references.after(TARGET),
            backend=spec.training.backend,
            devices=devices_of(spec.training.resources),
            pods=spec.training.nodes,
        )
    ]


def sft_task(pinned: PinnedPlan) -> SftParameters:
    """Return the task of ``sft``: fine-tune the target on the SFT rows."""
    data_path = pinned.artifact(CONSTRUCT, artifacts.SFT_FILE)
    shared = _shared_task(pinned, pinned.spec.training.sft, pinned.target(), data_path)
    return SftParameters.model_validate({**shared, "chat_template": chat_template(pinned.spec.trained)})


def sft_trial(pinned: PinnedPlan) -> SftParameters:
    """Return the task of a trial of ``sft``; ``preflight`` sets the data and the number of steps."""
    return SftParameters.model_validate(_trial(pinned, pinned.spec.training.sft))


def dpo_stages(spec: FusionRunSpec) -> list[Stage]:
    """Plan ``dpo``."""
    return [
        Stage(
            StageKind.DPO,
            parameters={"dpo": digest_data(spec.training.dpo), **shared_digest(spec)},
            inputs=(CONSTRUCT, SFT),
            backend=spec.training.backend,
            devices=devices_of(spec.training.resources),
            pods=spec.training.nodes,
        )
    ]


def dpo_task(pinned: PinnedPlan) -> DpoParameters:
    """Return the task of ``dpo``: train the SFT model on the pairs."""
    model_path, data_path = pinned.artifact(SFT, artifacts.MODEL), pinned.artifact(CONSTRUCT, artifacts.PAIRS_FILE)
    return DpoParameters.model_validate(_shared_task(pinned, pinned.spec.training.dpo, model_path, data_path))


def dpo_trial(pinned: PinnedPlan) -> DpoParameters:
    """Return the task of a trial of ``dpo`` on the base model, whose size is that of the SFT model."""
    return DpoParameters.model_validate(_trial(pinned, pinned.spec.training.dpo))


def _trial(pinned: PinnedPlan, settings: Sft) -> dict[str, Any]:
    """Return the task of a trial: on the target, with the template that ``sft`` gives it, and without trackers."""
    shared = _shared_task(pinned, settings, pinned.target(), "")
    return {**shared, "report_to": [], "mlflow": None, "chat_template": chat_template(pinned.spec.trained)}


def promote_stages(spec: FusionRunSpec) -> list[Stage]:
    """Plan ``promote``."""
    parameters = {"dpo": digest_data(spec.training.dpo)}
    training = spec.training
    resources = training.promote.resources or for_one_gpu(training.resources)
    return [
        Stage(
            StageKind.PROMOTE,
            parameters=parameters,
            inputs=(CONSTRUCT, SFT, DPO),
            resources=resources,
            devices=devices_of(resources),
        )
    ]


def promote_task(pinned: PinnedPlan) -> PromoteParameters:
    """Return the task of ``promote``: choose the better of the last two checkpoints by the held-out pairs."""
    settings = pinned.spec.training.dpo.model_dump(include={"save_steps", "beta", "length_normalized", "max_length"})
    return PromoteParameters.model_validate(
        {
            "dpo_dir": pinned.artifact(DPO),
            "reference_model_path": pinned.artifact(SFT, artifacts.MODEL),
            "held_out_path": pinned.artifact(CONSTRUCT, artifacts.HELD_OUT_FILE),
            **settings,
        }
    )
