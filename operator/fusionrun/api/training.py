"""How the target model is trained: SFT, then DPO, by TRL under DeepSpeed."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from fusionrun.api.contract import Contract
from fusionrun.api.models import Resources

LearningRate = Annotated[float, Field(gt=0, lt=1)]
BatchSize = Annotated[int, Field(ge=1, le=65536)]
MaxLength = Annotated[int, Field(ge=16, le=1048576)]


class Backend(StrEnum):
    """The Kubernetes object that runs training."""

    PYTORCH_JOB = "PyTorchJob"


class Precision(StrEnum):
    """Arithmetic of the forward and backward pass; master weights are always 32-bit."""

    BF16 = "bf16"
    FP32 = "fp32"


class Sft(Contract):
    """Supervised fine-tuning. A field left out is the recipe's, for the target's family."""

    epochs: Annotated[float, Field(gt=0, le=100)] | None = None
    learning_rate: LearningRate | None = None
    global_batch_size: BatchSize | None = None
    """Rows per optimizer step, over all processes."""
    micro_batch_size: BatchSize = 1
    """Rows per forward pass and process."""
    max_length: MaxLength | None = None
    """Longest row in tokens; a longer one is dropped and counted, never cut."""
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] | None = None
    save_steps: Annotated[int, Field(ge=1, le=1_000_000)] | None = None


class Dpo(Sft):
    """Direct preference optimisation. A field left out is the recipe's, for the target's family."""

    beta: Annotated[float, Field(gt=0, le=1000)] | None = None
    length_normalized: bool | None = None
    """TRL's ``sigmoid_norm`` instead of ``sigmoid``."""


class Training(Contract):
    """Where and how training runs."""

    backend: Backend = Backend.PYTORCH_JOB
    nodes: Annotated[int, Field(ge=1, le=256)] = 1
    processes_per_node: Annotated[int, Field(ge=1, le=16)] = 1
    """Processes, and so GPUs, per node."""
    zero_stage: Annotated[int, Field(ge=0, le=3)] = 3
    precision: Precision = Precision.BF16
    gradient_checkpointing: bool = True
    resources: Resources | None = None
    """Of one node's pod."""
    sft: Sft = Sft()
    dpo: Dpo = Dpo()
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 42
