"""DeepSpeed configuration and batch arithmetic."""

from typing import Any, Literal

from fusionrun.api.spec.training import Offload
from fusionrun.api.tasks.training import DpoParameters, SftParameters
from fusionrun_stages.errors import UserError


def gradient_accumulation_steps(parameters: SftParameters | DpoParameters, processes: int) -> int:
    """Return the micro-batches per optimizer step and process: train batch = micro batch x steps x processes."""
    micro_batch, global_batch = parameters.micro_batch_size, parameters.global_batch_size
    at_once = micro_batch * processes
    if global_batch % at_once:
        raise UserError(
            f"training.{parameters.kind}.globalBatchSize: {global_batch}: must be a multiple of microBatchSize x nodes "
            f"x processesPerNode = {micro_batch} x {processes} = {at_once}"
        )
    return global_batch // at_once


def zero_config(
    stage: int, precision: Literal["bf16", "fp32"], offload: Offload | None = None, *, cuda: bool
) -> dict[str, Any] | None:
    """Return the DeepSpeed configuration for a ZeRO stage; None for stage 0, which is data parallelism.

    With bf16 DeepSpeed computes in bf16, and keeps the master weights, the optimizer state and the sum of the gradients
    of a step in fp32. By default it would sum them in bf16: with many micro-batches small gradients are lost.
    transformers fills in ``auto``. With ``stage3_gather_16bit_weights_on_model_save`` every checkpoint has full weights
    that ``from_pretrained`` can load, also for fp32.
    ``overlap_comm`` has DeepSpeed's default on GPUs: on for stage 3, where gathers overlap with the computation, and
    off for stages 1 and 2, where it caused wrong gradients (DeepSpeed issues 5347 and 8061). On CPUs, with gloo, it is
    off: training was measured that way.
    An offloaded optimizer is torch's AdamW on the CPU (``zero_force_ds_cpu_optimizer``, see ``arguments.optimizer``).
    Source: https://www.deepspeed.ai/docs/config-json/, transformers' DeepSpeed integration, and
    ``DeepSpeedZeroConfig.overlap_comm_valid`` of DeepSpeed 0.19.8.
    """
    if stage == 0:
        return None
    shards_parameters = stage == 3  # noqa: PLR2004 - the ZeRO stage
    optimization: dict[str, Any] = {
        "stage": stage,
        "contiguous_gradients": True,
        "overlap_comm": cuda and shards_parameters,
    }
    if shards_parameters:
        optimization["stage3_gather_16bit_weights_on_model_save"] = True
    config: dict[str, Any] = {}
    if offload is Offload.OPTIMIZER:
        optimization["offload_optimizer"] = {"device": "cpu", "pin_memory": cuda}
        config["zero_force_ds_cpu_optimizer"] = False
    if precision == "bf16":
        config["data_types"] = {"grad_accum_dtype": "fp32"}
    return config | {
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "bf16": {"enabled": precision == "bf16"},
        "zero_allow_untested_optimizer": True,
        "zero_optimization": optimization,
    }
