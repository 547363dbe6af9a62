"""DeepSpeed's configuration, and the arithmetic of the batch. Pure."""

from typing import Any, Literal

from fusionrun.api.parameters import DpoParameters, SftParameters
from fusionrun_stages.errors import UserError


def gradient_accumulation_steps(parameters: SftParameters | DpoParameters, processes: int) -> int:
    """Return how many micro-batches each process adds up: global = micro x accumulation x processes.

    Raises
    ------
    UserError
        If the global batch is not a whole number of micro-batches on every process.
    """
    micro_batch, global_batch = parameters.micro_batch_size, parameters.global_batch_size
    at_once = micro_batch * processes
    if global_batch % at_once:
        raise UserError(
            f"training.{parameters.kind}.globalBatchSize: {global_batch}: must be a multiple of microBatchSize x nodes "
            f"x processesPerNode = {micro_batch} x {processes} = {at_once}"
        )
    return global_batch // at_once


def zero_config(stage: int, precision: Literal["bf16", "fp32"], *, cuda: bool) -> dict[str, Any] | None:
    """Return DeepSpeed's configuration for a ZeRO stage; None for stage 0, which is plain data parallelism.

    Notes
    -----
    With bf16 DeepSpeed computes in bf16 and keeps the master weights and the optimizer's state in fp32.
    ``auto`` is filled by transformers. ``stage3_gather_16bit_weights_on_model_save`` makes every checkpoint hold
    whole weights that ``from_pretrained`` loads, for fp32 as well.
    ``overlap_comm`` is DeepSpeed's own default on GPUs: on for stage 3, whose gathers it lets run beside the compute,
    and off for stages 1 and 2, where it has given wrong gradients (DeepSpeed issues 5347 and 8061). On CPUs, with gloo,
    it stays off: training was measured so.
    Source: https://www.deepspeed.ai/docs/config-json/, transformers' DeepSpeed integration, and
    ``DeepSpeedZeroConfig.overlap_comm_valid`` of DeepSpeed 0.19.8.
    """
    if stage == 0:
        return None
    shards_parameters = stage == 3  # noqa: PLR2004 - ZeRO's own number
    optimization: dict[str, Any] = {
        "stage": stage,
        "contiguous_gradients": True,
        "overlap_comm": cuda and shards_parameters,
    }
    if shards_parameters:
        optimization["stage3_gather_16bit_weights_on_model_save"] = True
    return {
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "bf16": {"enabled": precision == "bf16"},
        "zero_allow_untested_optimizer": True,
        "zero_optimization": optimization,
    }
