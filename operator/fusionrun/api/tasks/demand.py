"""What the pods of a run need of GPU memory and of the claim, for the checks of ``resolve``."""

from fusionrun.api.contract import Contract
from fusionrun.api.spec.servers import Dtype
from fusionrun.api.spec.training import Lora, Offload, Precision

GPU_MEMORY_UTILIZATION = 0.92
"""Default of ``--gpu-memory-utilization``. Source: vLLM 0.32, ``CacheConfig``."""


class ServedDemand(Contract):
    """A model that vLLM serves on GPUs."""

    field: str
    """Field of the spec with the server's settings, or with the model in a run that only evaluates models."""
    reference: int
    """Index of the reference of its model."""
    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    dtype: Dtype = Dtype.AUTO
    max_model_len: int | None = None
    """None: the model's own limit."""
    gpu_memory_utilization: float = GPU_MEMORY_UTILIZATION
    """Share of the GPU's memory that vLLM uses."""
    quantization: str | None = None
    """``--quantization``, if it is set."""
    offloaded_bytes: int = 0
    """Weights of each GPU that are in the memory of the node (``--cpu-offload-gb``)."""
    kv_cache_bytes: int = 2
    """Bytes of a number in the KV cache: 1 for ``--kv-cache-dtype fp8``."""
    gpu_memory_bytes: int | None = None
    """Memory of a GPU of its own nodes; 0 if it is not known, None if they are those of the run."""


class RewardDemand(Contract):
    """A reward model that pods load on one GPU."""

    reference: int
    batch_size: int
    max_batch_tokens: int | None = None
    """Tokens that are scored together, with padding; None for no limit."""
    max_length: int
    gpu_memory_bytes: int | None = None
    """Memory of a GPU of its own nodes; 0 if it is not known, None if they are those of the run."""


class TrainingDemand(Contract):
    """SFT and DPO of the target."""

    reference: int
    processes: int
    """Processes of all pods together, one GPU each."""
    zero_stage: int
    precision: Precision = Precision.BF16
    gradient_checkpointing: bool = True
    sft_micro_batch: int
    sft_global_batch: int | None = None
    """Rows of an optimizer step; None in tasks of earlier releases."""
    sft_max_length: int
    dpo_micro_batch: int
    dpo_global_batch: int | None = None
    """Pairs of an optimizer step; None in tasks of earlier releases."""
    dpo_max_length: int
    on_gpus: bool = False
    """Whether the pods request GPUs. Without, only the disk is counted."""
    offload: Offload | None = None
    lora: Lora | None = None
    gpu_memory_bytes: int | None = None
    """Memory of a GPU of its own nodes; 0 if it is not known, None if they are those of the run."""


class Demand(Contract):
    """What the pods of a run need."""

    gpu_memory_bytes: int | None = None
    """Memory of one GPU, for the parts without one of their own; None if it is not known: they are then not judged."""
    served: list[ServedDemand] = []
    reward: RewardDemand | None = None
    training: TrainingDemand | None = None
    """None if the run only evaluates models."""
    responses: int | None = None
    """Estimated number of responses that the run stores; None if it is not known."""
    published_copies: int = 0
    """Copies of the final model that ``publish`` makes on the claim: one in its bundle, one at a place on the claim."""

    def gpu_memory_of(self, part: ServedDemand | RewardDemand | TrainingDemand) -> int | None:
        """Return the memory of one GPU of a part; None if it is not known."""
        return (self.gpu_memory_bytes if part.gpu_memory_bytes is None else part.gpu_memory_bytes) or None
