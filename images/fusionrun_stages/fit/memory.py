"""GPU memory of one GPU: of a served model, of the reward model and of training. Pure.

What an engine must hold in any case (weights, gradients, optimizer, the KV cache of one request) is ``certain``.
Activations, buffers and the CUDA context are an estimate.
"""

from dataclasses import dataclass
from enum import StrEnum

from fusionrun.api.spec.servers import Dtype
from fusionrun.api.tasks.demand import RewardDemand, ServedDemand, TrainingDemand
from fusionrun_stages.fit.architecture import Architecture
from fusionrun_stages.fit.sizes import states, trained_parameters, uses_autocast, weight_bytes

GIB = 2**30
CONTEXT_BYTES = 2 * GIB
"""Estimate: CUDA context, NCCL buffers, and fragmentation of the allocator."""
GRAPH_BYTES = GIB
"""Estimate: CUDA graphs and workspaces of vLLM."""
LARGE_GPU = 70 * GIB
BATCHES = {True: (8192, 1024), False: (2048, 256)}
"""Tokens and sequences of vLLM's largest batch, on GPUs with ``LARGE_GPU`` and more, and on smaller ones.
Source: vLLM 0.32, ``EngineArgs.get_batch_defaults``, for the API server."""
LIVE_PARAMETERS = 10**9
"""Gathered parameters of ZeRO 3. Source: DeepSpeed, ``stage3_max_live_parameters``."""
BUCKET = 5 * 10**8
"""Elements of a reduction. Source: DeepSpeed, ``reduce_bucket_size``."""
HEAD_TILE = (4096, 32_768)
"""Tokens and vocabulary of a tile of logits in TRL's fused LM head. Source: TRL 1.16.0, TOKEN_CHUNK_SIZE of
``trl/kernels/chunked_logprob.py`` and ``_CHUNKED_LOGPROB_CHUNK_SIZE`` of ``trl/trainer/utils.py``."""


class Verdict(StrEnum):
    """Whether a model fits."""

    FITS = "Fits"
    TIGHT = "Tight"
    """It fits only if the estimated part is too high."""
    TOO_LARGE = "TooLarge"
    UNKNOWN = "Unknown"


@dataclass(frozen=True)
class Need:
    """Memory of one GPU that a part of a run needs, in bytes."""

    field: str
    """Field of the spec."""
    parts: dict[str, int]
    """What is certain."""
    estimates: dict[str, int]
    share: float = 1.0
    """Share of the GPU that the program may use."""
    advice: str = ""
    """What to change if it does not fit."""
    complete: bool = True
    """Whether a part is not left out because the architecture is unknown."""
    gpu_memory: int | None = None
    """Memory of one GPU of the nodes of the part; None if it is not known."""

    @property
    def certain(self) -> int:
        """The bytes that are certain."""
        return sum(self.parts.values())

    @property
    def total(self) -> int:
        """All bytes."""
        return self.certain + sum(self.estimates.values())

    def verdict(self, gpu_memory: int | None) -> Verdict:
        """Compare it with the memory of a GPU, in bytes."""
        if gpu_memory is None:
            return Verdict.UNKNOWN
        usable = self.share * gpu_memory
        if self.certain > usable:
            return Verdict.TOO_LARGE
        if not self.complete:
            return Verdict.UNKNOWN
        return Verdict.FITS if self.total <= usable else Verdict.TIGHT

    def text(self) -> str:
        """Return the need and its parts, in GiB."""
        certain = ", ".join(f"{name} {gib(value)}" for name, value in self.parts.items())
        estimates = ", ".join(f"{name} {gib(value)}" for name, value in self.estimates.items())
        unknown = "" if self.complete else "; the rest is unknown, since the architecture is"
        return (
            f"{gib(self.total)} GiB per GPU ({certain}"
            + (f"; estimated: {estimates}" if estimates else "")
            + f"{unknown})"
        )


def gib(size: float) -> str:
    """Return bytes as GiB."""
    return f"{size / GIB:.1f}"


def served(
    demand: ServedDemand,
    model: Architecture | None,
    parameters: int | None,
    weights_bytes: int,
    gpu_memory: int | None = None,
) -> Need:
    """Return the memory of a GPU for a model that vLLM serves.

    Weights: ``--dtype auto`` loads float32 as 16 bits; quantised weights have the size of their files. They are split
    over all GPUs. KV cache of one request of the maximum length: 2 (key and value) x layers x kv heads x head size x
    bytes per token; kv heads are split over the tensor parallel GPUs, at most to one, and layers over the pipeline.
    With multi-head latent attention every tensor parallel GPU holds the whole latent vector (arXiv 2405.04434, 2.1.2).
    vLLM does not start if that request does not fit (``vllm/v1/core/kv_cache_utils.py``).
    """
    gpus = demand.tensor_parallel_size * demand.pipeline_parallel_size
    each = 4 if demand.dtype is Dtype.FLOAT32 else 2
    if demand.quantization == "fp8":
        each = 1
    weights = weights_bytes if parameters is None or (demand.quantization or "fp8") != "fp8" else parameters * each
    parts, estimates = {"weights": max(0, weights // gpus - demand.offloaded_bytes)}, {"CUDA graphs": GRAPH_BYTES}
    if model:
        length = demand.max_model_len or model.max_length
        kv_heads = -(-model.kv_heads // demand.tensor_parallel_size)
        per_token = model.latent or 2 * kv_heads * model.head_dim
        cached = model.cached_tokens(length) * per_token * demand.kv_cache_bytes // demand.pipeline_parallel_size
        parts[f"KV cache of {length:,} tokens"] = cached
        wide = 4 * model.hidden + 3 * model.intermediate // demand.tensor_parallel_size
        tokens, sequences = BATCHES[gpu_memory is None or gpu_memory >= LARGE_GPU]
        logits = sequences * model.vocabulary * 8  # float32, and once more for sampling
        estimates["activations"] = tokens * wide * 2 + logits
    return Need(
        demand.field,
        parts,
        estimates,
        share=demand.gpu_memory_utilization,
        advice="raise tensorParallelSize, lower maxModelLen, or use a quantised model",
        complete=model is not None,
    )


def reward(demand: RewardDemand, model: Architecture | None, parameters: int | None, weights_bytes: int) -> Need:
    """Return the memory of a GPU for the reward model, which is loaded in bfloat16 and computes no gradients."""
    estimates = {"CUDA context": CONTEXT_BYTES}
    if model:
        tokens = demand.batch_size * demand.max_length
        if demand.max_batch_tokens is not None:  # a conversation that is longer is scored alone
            tokens = max(demand.max_length, min(tokens, demand.max_batch_tokens))
        estimates["activations"] = tokens * (4 * model.hidden + 2 * model.intermediate) * 2
    parts = {"weights": 2 * parameters if parameters else weights_bytes}
    return Need(
        "rewardModel",
        parts,
        estimates,
        advice="use a GPU with more memory, or a smaller reward model",
        complete=model is not None,
    )


def training(demand: TrainingDemand, model: Architecture | None, parameters: int, *, dpo: bool) -> Need:
    """Return the memory of a GPU for SFT or DPO of a model with ``parameters`` parameters.

    ``sizes.states`` has the weights, the gradients and the optimizer. DPO adds a reference model; with LoRA it is the
    model without the adapters.

    Activations, per token of a micro-batch, in bytes of 16-bit numbers (arXiv 2205.05198, section 4.1, without dropout
    and with a gated MLP of width f): 16h + 8f per layer; with gradient checkpointing 2h per layer and one layer in
    full (section 5). Fused attention stores no scores; an eager one 5 bytes per head and pair of tokens. TRL computes
    the LM head in tiles and keeps no logits; it accumulates the gradients of the head and of its input in float32
    (``ChunkedLogProbFunction.backward``).

    Autocast (``sizes.uses_autocast``) computes matrix products in 16 bits, and casts each weight once per forward pass.
    The embeddings have float32, so the sum of the layers' outputs has it, too: the input that gradient checkpointing
    keeps (4h), and the input of each of the two norms before and after it is scaled (16h instead of 4h). The copies of
    the weights exist until the end of the forward pass, without gradient checkpointing until the backward pass.
    Measured: torch 2.13 with a tiny Llama, tensors that autograd saves.
    """
    known = trained_parameters(demand.lora, parameters, model)
    trained, weight, autocast = known or 0, weight_bytes(demand), uses_autocast(demand)
    with_reference = dpo and demand.lora is None
    held = states(demand, parameters, trained, demand.processes, reference=with_reference)
    parts = {"weights": held.weights, "gradients": held.gradients, "optimizer": held.optimizer}
    if with_reference:
        parts["reference model"] = held.reference
    estimates = {"CUDA context": CONTEXT_BYTES}
    if demand.zero_stage >= 3:  # noqa: PLR2004 -- the ZeRO stage
        estimates["gathered weights"] = weight * min(LIVE_PARAMETERS, parameters)
    if demand.zero_stage:
        estimates["buckets"] = 2 * weight * min(BUCKET, trained)
    if autocast:
        passes = 2 if dpo and not demand.gradient_checkpointing else 1  # DPO: those of the reference model, too
        estimates["16-bit copies of the weights"] = passes * 2 * parameters
    if model:
        estimates["activations"] = _activations(demand, model, dpo=dpo)
    kind = "dpo" if dpo else "sft"
    advice = f"raise zeroStage, training.nodes or processesPerNode, set offload or lora, or lower {kind}.microBatchSize"
    return Need(f"training.{kind}", parts, estimates, advice=advice, complete=model is not None and known is not None)


def fits_zero_stage_2(
    demand: TrainingDemand, model: Architecture | None, parameters: int, gpu_memory: int | None
) -> bool:
    """Return whether SFT and DPO fit with ZeRO stage 2 as well, which gathers no weights during a step.

    Stage 1 exchanges as much as stage 2 and needs more memory (arXiv 1910.02054, section 7).
    """
    changed = demand.model_copy(update={"zero_stage": 2})
    needs = (training(changed, model, parameters, dpo=dpo) for dpo in (False, True))
    return all(need.verdict(gpu_memory) is Verdict.FITS for need in needs)


def largest_micro_batch(
    demand: TrainingDemand, model: Architecture | None, parameters: int, gpu_memory: int | None, *, dpo: bool
) -> int:
    """Return the largest micro-batch of SFT or DPO that fits and divides a step, in steps of a factor of two.

    It is that of the demand if no larger one fits, or if it is not known what fits.
    """
    name = "dpo_micro_batch" if dpo else "sft_micro_batch"
    micro_batch: int = getattr(demand, name)
    per_process = ((demand.dpo_global_batch if dpo else demand.sft_global_batch) or 0) // demand.processes
    while (larger := 2 * micro_batch) <= per_process and per_process % larger == 0:
        need = training(demand.model_copy(update={name: larger}), model, parameters, dpo=dpo)
        if need.verdict(gpu_memory) is not Verdict.FITS:
            break
        micro_batch = larger
    return micro_batch


def _activations(demand: TrainingDemand, model: Architecture, *, dpo: bool) -> int:
    micro_batch = 2 * demand.dpo_micro_batch if dpo else demand.sft_micro_batch  # a pair is two rows
    length = demand.dpo_max_length if dpo else demand.sft_max_length
    tokens = micro_batch * length
    autocast = uses_autocast(demand)
    width = 2 if autocast else weight_bytes(demand)
    layer = tokens * (16 * model.hidden + 8 * model.intermediate) * width // 2
    if autocast:
        layer += tokens * 12 * model.hidden
    if model.eager_attention:
        layer += 5 * model.heads * micro_batch * length**2 * width // 2
    kept = model.layers * tokens * model.hidden * weight_bytes(demand) + layer
    if not demand.gradient_checkpointing:
        kept = model.layers * layer
    head = HEAD_TILE[0] * HEAD_TILE[1] * width + 4 * model.hidden * (model.vocabulary + tokens)
    return kept + layer + head  # ``layer`` again, for the gradients of one layer's activations
