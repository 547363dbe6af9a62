"""What a training does, in one line of its log, with an estimate of its memory."""

from typing import Any

from fusionrun.api.tasks.training import TrainParameters
from fusionrun_stages.fit.sizes import states
from fusionrun_stages.training.flops import count_parameters
from fusionrun_stages.training.ranks import world_size

GIB = 2**30


def describe(trainer: Any, parameters: TrainParameters) -> str:
    """Return what a trainer does: model, sharding, batch, attention, optimizer and estimated memory per process."""
    model, args = trainer.model, trainer.args
    total, trained = count_parameters(model.parameters())
    reference = getattr(trainer, "ref_model", None) is not None
    gib = states(parameters, total, trained, world_size(), reference=reference).total / GIB
    rows, steps = args.per_device_train_batch_size, args.gradient_accumulation_steps
    return (
        f"{total:,} parameters, {trained:,} trained; ZeRO stage {parameters.zero_stage}, "
        f"offload {parameters.offload or 'None'}; {rows} rows x {steps} micro-batches x {world_size()} processes = "
        f"{rows * steps * world_size()} rows per step; attention {model.config._attn_implementation}, "  # noqa: SLF001
        f"padding-free {getattr(args, 'padding_free', False)}; optimizer {args.optim.value}; {parameters.precision}; "
        f"estimated memory per process for weights, gradients and optimizer: {gib:.2f} GiB, activations not included"
    )
