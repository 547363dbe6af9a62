"""Arguments that SFTConfig and DPOConfig share."""

from pathlib import Path
from typing import Any

from fusionrun.api.parameters import TrainParameters
from fusionrun_stages.models.attention import attention_of
from fusionrun_stages.training.zero import zero_config

KEPT_CHECKPOINTS = 3
"""The last two multiples of saveSteps, from which ``promote`` chooses, and the last step.

At least two: the newest checkpoint is incomplete until every rank has written its part.
Source: FuseChat-3.0 (arXiv 2503.04222), DPO: the better of the last two checkpoints.
"""


def shared_arguments(
    parameters: TrainParameters, accumulation_steps: int, output_dir: Path, *, cuda: bool
) -> dict[str, Any]:
    """Return keyword arguments for SFTConfig and DPOConfig.

    Without ``save_steps`` a checkpoint is written at the end of each epoch; a trial writes none.

    Source: FuseChat-3.0 for the cosine schedule with warm-up. A ``warmup_steps`` below 1 is a share of all steps
    (transformers 5, which has no ``warmup_ratio``). TRL's ``max_length`` is off, since it would truncate rows; rows
    that are too long are dropped instead (``tokens.drop_long``).
    """
    save: dict[str, Any] = {"save_steps": parameters.save_steps}
    if parameters.trial_steps:
        save = {"save_strategy": "no", "max_steps": parameters.trial_steps}
    elif parameters.save_steps is None:
        save = {"save_strategy": "epoch"}
    return {
        "output_dir": str(output_dir),
        "deepspeed": zero_config(parameters.zero_stage, parameters.precision, cuda=cuda),
        "use_cpu": not cuda,
        "bf16": parameters.precision == "bf16",
        "dataloader_pin_memory": cuda,
        "gradient_checkpointing": parameters.gradient_checkpointing,
        "num_train_epochs": parameters.epochs,
        "learning_rate": parameters.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": parameters.warmup_ratio,
        "optim": "adamw_torch",
        "per_device_train_batch_size": parameters.micro_batch_size,
        "gradient_accumulation_steps": accumulation_steps,
        "max_length": None,
        "model_init_kwargs": {"dtype": "float32", **attention_of(parameters.model_path)},
        "seed": parameters.seed,
        "data_seed": parameters.seed,
        "save_total_limit": KEPT_CHECKPOINTS,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "disable_tqdm": True,
        "report_to": "none",
        **save,
    }
