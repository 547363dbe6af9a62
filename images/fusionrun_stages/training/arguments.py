"""Arguments that SFTConfig and DPOConfig share."""

from pathlib import Path
from typing import Any

from fusionrun.api.spec.training import Offload
from fusionrun.api.tasks.training import TrainParameters
from fusionrun_stages.fit.sizes import KEPT_CHECKPOINTS
from fusionrun_stages.models.attention import has_flash_attention, training_attention
from fusionrun_stages.training.zero import zero_config


def shared_arguments(
    parameters: TrainParameters, accumulation_steps: int, output_dir: Path, *, cuda: bool
) -> dict[str, Any]:
    """Return keyword arguments for SFTConfig and DPOConfig.

    Without ``save_steps`` a checkpoint is written at the end of each epoch; a trial writes none.

    Source: FuseChat-3.0 for the cosine schedule with warm-up. A ``warmup_steps`` below 1 is a share of all steps
    (transformers 5, which has no ``warmup_ratio``). TRL's ``max_length`` is off, since it would truncate rows; rows
    that are too long are dropped instead (``tokens.drop_long``). Every trained parameter takes part in every loss, so
    data parallelism (stage 0) need not look for unused ones, which transformers does by default.
    """
    flash = cuda and has_flash_attention()
    attention = training_attention(parameters.model_path, parameters.precision, flash=flash)
    save: dict[str, Any] = {"save_steps": parameters.save_steps}
    if parameters.trial_steps:
        save = {"save_strategy": "no", "max_steps": parameters.trial_steps}
    elif parameters.save_steps is None:
        save = {"save_strategy": "epoch"}
    return {
        "output_dir": str(output_dir),
        "deepspeed": zero_config(parameters.zero_stage, parameters.precision, parameters.offload, cuda=cuda),
        "use_cpu": not cuda,
        "bf16": parameters.precision == "bf16",
        "dataloader_pin_memory": cuda,
        "gradient_checkpointing": parameters.gradient_checkpointing,
        "ddp_find_unused_parameters": False,
        "num_train_epochs": parameters.epochs,
        "learning_rate": parameters.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": parameters.warmup_ratio,
        "optim": optimizer(parameters.offload, cuda=cuda),
        "per_device_train_batch_size": parameters.micro_batch_size,
        "gradient_accumulation_steps": accumulation_steps,
        "max_length": None,
        "model_init_kwargs": {"dtype": weights(parameters), **attention},
        "seed": parameters.seed,
        "data_seed": parameters.seed,
        "save_total_limit": KEPT_CHECKPOINTS,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "disable_tqdm": True,
        "report_to": "none",
        **save,
    }


def optimizer(offload: Offload | None, *, cuda: bool) -> str:
    """Return transformers' name of the optimizer: torch's AdamW, fused on GPUs and for offloaded states.

    torch's fused AdamW has a vectorized kernel for CPUs, too. With it, offloading needs neither DeepSpeed's CPUAdam nor
    the C++ compiler that builds it.
    """
    return "adamw_torch_fused" if cuda or offload is Offload.OPTIMIZER else "adamw_torch"


def weights(parameters: TrainParameters) -> str:
    """Return the dtype of the loaded weights.

    fp32, from which the optimizer takes its master weights: bf16 weights do not move at a learning rate of 3e-7. With
    LoRA the loaded weights do not change, so they have the precision of the forward pass.
    """
    return "bfloat16" if parameters.lora is not None and parameters.precision == "bf16" else "float32"
