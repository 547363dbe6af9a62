"""The parameters of the stages that train and select the target model."""

from typing import Literal

from fusionrun.api.contract import Contract
from fusionrun.api.spec.training import Lora, Offload, Sft, Tracker
from fusionrun.api.stage import StageKind, TemplateName


class TrainingInputs(Contract):
    """The model to train and its data."""

    model_path: str
    data_path: str


class MlflowParameters(Contract):
    """The MLflow server that gets the numbers of a training; its token is in an environment variable."""

    tracking_uri: str
    experiment: str


class TrainParameters(Sft, TrainingInputs):
    """Parameters that SFT and DPO share: the fields of ``spec.training.sft``, all filled in, and those of a run."""

    epochs: float
    learning_rate: float
    global_batch_size: int
    micro_batch_size: int
    max_length: int
    warmup_ratio: float
    zero_stage: int
    precision: Literal["bf16", "fp32"]
    gradient_checkpointing: bool
    seed: int
    trial_steps: int | None = None
    """Optimizer steps of a trial, which saves nothing; None for a training."""
    offload: Offload | None = None
    lora: Lora | None = None
    report_to: list[Tracker] = []
    mlflow: MlflowParameters | None = None
    chat_template: TemplateName | None = None
    """Replaces the template of the tokenizer, and is saved with the model. ``dpo`` needs it only in a trial, which
    trains the base model."""


class SftParameters(TrainParameters):
    """Supervised fine-tuning; the model is written to ``model/``."""

    kind: Literal[StageKind.SFT] = StageKind.SFT


class DpoParameters(TrainParameters):
    """DPO of the SFT model; checkpoints are written to ``checkpoints/``, the last model to ``model/``."""

    kind: Literal[StageKind.DPO] = StageKind.DPO
    beta: float
    length_normalized: bool


class PromoteParameters(Contract):
    """Choose the better of the last two checkpoints by the held-out pairs; the model is written to ``model/``."""

    kind: Literal[StageKind.PROMOTE] = StageKind.PROMOTE
    dpo_dir: str
    reference_model_path: str
    held_out_path: str
    save_steps: int | None = None
    beta: float
    length_normalized: bool
    max_length: int
