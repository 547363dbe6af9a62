"""Sizes of a training: weights, gradients and optimizer of a process, and the files of a checkpoint. Pure."""

from dataclasses import dataclass
from typing import Protocol

from fusionrun.api.spec.training import Lora, Offload, Precision
from fusionrun_stages.fit.architecture import Architecture

KEPT_CHECKPOINTS = 3
"""The last two multiples of saveSteps, from which ``promote`` chooses, and the last step.

At least two: the newest checkpoint is incomplete until every rank has written its part.
Source: FuseChat-3.0 (arXiv 2503.04222), DPO: the better of the last two checkpoints.
"""
CHECKPOINTS_AT_ONCE = KEPT_CHECKPOINTS + 1
"""Checkpoints at the same time: those, and the one being written."""
MERGED_CHECKPOINTS = 2
"""Checkpoints of DPO whose adapters are merged at its end: those from which ``promote`` chooses."""
MASTER_AND_MOMENTS = 12
"""Bytes per trained parameter: AdamW's fp32 master weight and two moments. Source: ZeRO (arXiv 1910.02054), 3.1."""


class Settings(Protocol):
    """Fields of a training on which sizes depend: of ``TrainingDemand`` and of ``TrainParameters``."""

    @property
    def zero_stage(self) -> int: ...  # noqa: D102
    @property
    def precision(self) -> str: ...  # noqa: D102
    @property
    def offload(self) -> Offload | None: ...  # noqa: D102
    @property
    def lora(self) -> Lora | None: ...  # noqa: D102


@dataclass(frozen=True)
class States:
    """Bytes on the device of one process."""

    weights: int
    gradients: int
    optimizer: int
    reference: int
    """Weights of the reference model of DPO."""

    @property
    def total(self) -> int:
        """The sum."""
        return self.weights + self.gradients + self.optimizer + self.reference


def states(settings: Settings, total: int, trained: int, processes: int, *, reference: bool) -> States:
    """Return the bytes of a training of ``trained`` of ``total`` parameters.

    With DeepSpeed and bf16: 2 bytes per weight, 4 per trained weight for the sum of the gradients, and
    ``MASTER_AND_MOMENTS``. Without DeepSpeed, or in fp32, the weights are their own master weights: 16 bytes per
    trained weight in all. Stage 1 shards the optimizer state, 2 also the gradients, 3 also all weights. An offloaded
    optimizer has the gradients with it. Sources: ZeRO (arXiv 1910.02054), sections 3.1 and 5; ZeRO-Offload
    (arXiv 2101.06840), section 3.
    """
    of_weights, of_gradients, of_optimizer = (processes if settings.zero_stage >= first else 1 for first in (3, 2, 1))
    mixed = settings.zero_stage > 0 and settings.precision == Precision.BF16
    weights = weight_bytes(settings) * total // of_weights
    gradients = 4 * trained // of_gradients
    optimizer = (MASTER_AND_MOMENTS if mixed else MASTER_AND_MOMENTS - 4) * trained // of_optimizer
    if settings.offload is Offload.OPTIMIZER:
        gradients = optimizer = 0
    return States(weights, gradients, optimizer, weights if reference else 0)


def weight_bytes(settings: Settings) -> int:
    """Return the bytes of a weight on the device, and in the trained model.

    Without DeepSpeed, transformers trains float32 weights with autocast. With LoRA the loaded weights do not change and
    have the precision of the forward pass.
    """
    low = settings.zero_stage > 0 or settings.lora is not None
    return 2 if low and settings.precision == Precision.BF16 else 4


def uses_autocast(settings: Settings) -> bool:
    """Return whether float32 weights are trained in 16 bits: transformers' ``bf16`` without DeepSpeed is autocast."""
    return settings.precision == Precision.BF16 and weight_bytes(settings) == 4  # noqa: PLR2004 -- bytes of float32


def checkpoint_bytes(settings: Settings, trained: int) -> int:
    """Return the size of a checkpoint with ``trained`` trained parameters, over all ranks.

    With ZeRO, the optimizer state has ``MASTER_AND_MOMENTS``, and the model in safetensors 2 bytes in bf16 and 4 in
    fp32. With stages 1 and 2, DeepSpeed writes the weights once more in its own file. Without ZeRO, the weights are
    float32 once, beside both moments. With LoRA, all of these have the adapters alone. Source: DeepSpeed,
    ``engine.py`` (``save_checkpoint``); transformers, ``Trainer``; the files of a tiny model have these sizes.
    """
    if settings.zero_stage == 0:
        return MASTER_AND_MOMENTS * trained
    weight = 2 if settings.precision == Precision.BF16 else 4
    copies = 1 if settings.zero_stage == 3 else 2  # noqa: PLR2004 -- the ZeRO stage
    return (MASTER_AND_MOMENTS + copies * weight) * trained


def trained_parameters(lora: Lora | None, total: int, model: Architecture | None) -> int | None:
    """Return the number of trained parameters: all, or those of the adapters; None if it is not known.

    An adapter of a matrix with ``n`` inputs and ``m`` outputs has ``rank * (n + m)`` parameters (arXiv 2106.09685,
    4.1).
    Without ``targetModules`` every matrix of a layer has one. Phi 3 fuses some, and has slightly fewer.
    """
    if lora is None:
        return total
    if model is None or not model.dense or model.latent:
        return None
    hidden, queries, keys = model.hidden, model.heads * model.head_dim, model.kv_heads * model.head_dim
    matrices = {
        "q_proj": hidden + queries,
        "k_proj": hidden + keys,
        "v_proj": hidden + keys,
        "o_proj": queries + hidden,
        "gate_proj": hidden + model.intermediate,
        "up_proj": hidden + model.intermediate,
        "down_proj": model.intermediate + hidden,
    }
    # peft compares the end of a module's name.
    names = {name.rpartition(".")[2] for name in lora.target_modules or matrices}
    if not names <= matrices.keys():
        return None
    return model.layers * lora.rank * sum(matrices[name] for name in names)
