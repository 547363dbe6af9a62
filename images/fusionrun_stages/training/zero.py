"""DeepSpeed's configuration, and the arithmetic of the batch. Pure."""

from typing import Any, Literal

from fusionrun.api.parameters import DpoParameters, SftParameters
from fusionrun_stages.errors import UserError


def accumulation_steps(parameters: SftParameters | DpoParameters, processes: int) -> int:
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


def zero_config(stage: int, precision: Literal["bf16", "fp32"]) -> dict[str, Any] | None:
    """Return DeepSpeed's configuration for a ZeRO stage; None for stage 0, which is plain data parallelism.

    Notes
    -----
    With bf16 DeepSpeed computes in bf16 and keeps the master weights and the optimizer's state in fp32.
    ``auto`` is filled by transformers. ``stage3_gather_16bit_weights_on_model_save`` makes every checkpoint hold
    whole weights that ``from_pretrained`` loads, for fp32 as well.
    Source: https://www.deepspeed.ai/docs/config-json/ and transformers' DeepSpeed integration.
    """
    if stage == 0:
        return None
    optimization: dict[str, Any] = {"stage": stage, "contiguous_gradients": True, "overlap_comm": False}
    if stage == 3:  # noqa: PLR2004 - ZeRO's own number
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
