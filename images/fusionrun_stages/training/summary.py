"""What a training does, in one line of its log, with an estimate of its memory."""

from typing import Any

from fusionrun.api.parameters import TrainParameters
from fusionrun.api.training import Offload
from fusionrun_stages.training.ranks import world_size

GIB = 2**30
MASTER_AND_MOMENTS = 12
"""Bytes per trained parameter: AdamW's fp32 master weight and two moments. Source: ZeRO (arXiv 1910.02054), 3.1."""


def describe(trainer: Any, parameters: TrainParameters) -> str:
    """Return what a trainer does: model, sharding, batch, attention, optimizer and estimated memory per process."""
    model, args = trainer.model, trainer.args
    total, trained = count_parameters(model)
    reference = getattr(trainer, "ref_model", None) is not None
    gib = state_bytes(parameters, total, trained, world_size(), reference=reference) / GIB
    rows, steps = args.per_device_train_batch_size, args.gradient_accumulation_steps
    return (
        f"{total:,} parameters, {trained:,} trained; ZeRO stage {parameters.zero_stage}, "
        f"offload {parameters.offload or 'None'}; {rows} rows x {steps} micro-batches x {world_size()} processes = "
        f"{rows * steps * world_size()} rows per step; attention {model.config._attn_implementation}, "  # noqa: SLF001
        f"padding-free {getattr(args, 'padding_free', False)}; optimizer {args.optim.value}; {parameters.precision}; "
        f"estimated memory per process for weights, gradients and optimizer: {gib:.2f} GiB, activations not included"
    )


def count_parameters(model: Any) -> tuple[int, int]:
    """Return the numbers of all and of trained parameters, also of a model that ZeRO-3 has sharded."""
    sizes = [(getattr(p, "ds_numel", p.numel()), p.requires_grad) for p in model.parameters()]
    return sum(size for size, _ in sizes), sum(size for size, is_trained in sizes if is_trained)


def state_bytes(parameters: TrainParameters, total: int, trained: int, processes: int, *, reference: bool) -> float:
    """Return the bytes per process, on its device, of weights, gradients and optimizer state.

    With DeepSpeed and bf16: 2 bytes per weight, 4 per trained weight for the sum of the gradients, and
    ``MASTER_AND_MOMENTS``. Without DeepSpeed, or in fp32, the weights are their own master weights: 16 bytes per
    trained weight in all. ``reference`` adds the weights of a second model. Stage 1 shards the optimizer state, 2 also
    the gradients, 3 also all weights. An offloaded optimizer has the gradients with it. Sources: ZeRO
    (arXiv 1910.02054), sections 3.1 and 5; ZeRO-Offload (arXiv 2101.06840), section 3.
    """
    stage = parameters.zero_stage
    mixed = stage > 0 and parameters.precision == "bf16"
    low = parameters.precision == "bf16" and (mixed or parameters.lora is not None)
    weights = (2 if low else 4) * (total + (total if reference else 0))
    gradients = 4 * trained
    optimizer = (MASTER_AND_MOMENTS if mixed else MASTER_AND_MOMENTS - 4) * trained
    if parameters.offload is Offload.OPTIMIZER:
        gradients = optimizer = 0
    shards = [1 if stage < first else processes for first in (3, 2, 1)]
    return weights / shards[0] + gradients / shards[1] + optimizer / shards[2]
