"""What the pods of a run need of GPU memory and of the claim (``api.demand``), from its spec."""

import re
from collections.abc import Iterable, Mapping, Sequence

from fusionrun.api.published.gpu_models import GpuModel, gpu_model
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.spec.servers import ServerSettings
from fusionrun.api.tasks.demand import GPU_MEMORY_UTILIZATION, Demand, RewardDemand, ServedDemand, TrainingDemand
from fusionrun.plan.amounts import amounts
from fusionrun.plan.gpus import gpu_count
from fusionrun.plan.pinned import PinnedPlan
from fusionrun.plan.pod_size import NodeGpus
from fusionrun.plan.pods import RUN_WIDE, parts, server_part
from fusionrun.plan.quantities import quantity
from fusionrun.plan.references import JUDGE, REWARD, TARGET, References, measured_field, served_judge
from fusionrun.plan.servers import OF_EVALUATION, OF_JUDGE, server_of
from fusionrun.plan.stages import subject_name

GPU_MEMORY_LABEL = "nvidia.com/gpu.memory"
"""Label with the memory of one GPU of a node, in MiB. Source: NVIDIA GPU feature discovery, "Generated Labels"."""
GPU_PRODUCT_LABELS = ("nvidia.com/gpu.product", "cloud.google.com/gke-accelerator")
"""Labels with the model of the GPUs of a node. Sources: the same; Google Kubernetes Engine, "Run GPUs"."""

_MEMORY = re.compile(r"([0-9]+)GB(?![A-Z0-9])", re.IGNORECASE)


def demand_of(pinned: PinnedPlan) -> Demand:
    """Return what the pods of a run need. Servers and reward models without GPUs are left out."""
    spec, references = pinned.spec, References(pinned.spec)
    own_memory = pinned.gpu_memory_of_parts.get
    servers: list[tuple[str, int, ServerSettings, str]] = [
        (field := f"sources[{source.name}].served", references.model(source.name), source.served, f"{field}.pod")
        for source in spec.sources
        if source.served
    ]
    if spec.evaluation.benchmarks and (server := spec.evaluation.server):
        measured = spec.evaluate_only.models if spec.evaluate_only else []
        servers += [
            (measured_field(m), references.model(subject_name(m)), server_of(spec.evaluation, m), server_part(m))
            for m in measured
        ]
        if spec.target:
            servers.append((OF_EVALUATION, references.model(TARGET), server, f"{OF_EVALUATION}.pod"))
    if judge := served_judge(spec):
        servers.append((OF_JUDGE, references.model(JUDGE), judge, f"{OF_JUDGE}.pod"))
    reward = spec.reward_model
    uri = spec.publish.uri if spec.publish else ""
    return Demand(
        gpu_memory_bytes=pinned.gpu_memory_bytes,
        served=[
            _served(field, reference, server, own_memory(part))
            for field, reference, server, part in servers
            if gpu_count(server.resources)
        ],
        reward=RewardDemand(
            reference=references.model(REWARD),
            batch_size=reward.batch_size,
            max_batch_tokens=reward.max_batch_tokens,
            max_length=reward.max_length,
            gpu_memory_bytes=own_memory("rewardModel.pod"),
        )
        if reward.model and gpu_count(reward.resources)
        else None,
        training=_training(spec, references.model(TARGET), own_memory("training.pod")) if spec.target else None,
        responses=sum(a.responses or 0 for a in amounts(spec)) or None,
        published_copies=(1 + uri.startswith("pvc://")) if uri else 0,
    )


def _served(field: str, reference: int, server: ServerSettings, gpu_memory_bytes: int | None) -> ServedDemand:
    utilization = _number(argument(server.extra_args, "--gpu-memory-utilization"))
    offloaded = _number(argument(server.extra_args, "--cpu-offload-gb"))
    cache = argument(server.extra_args, "--kv-cache-dtype") or ""
    return ServedDemand(
        field=field,
        reference=reference,
        tensor_parallel_size=server.tensor_parallel_size,
        pipeline_parallel_size=server.pipeline_parallel_size,
        dtype=server.dtype,
        max_model_len=server.max_model_len,
        quantization=argument(server.extra_args, "--quantization"),
        kv_cache_bytes=1 if cache.startswith("fp8") else 2,
        gpu_memory_utilization=GPU_MEMORY_UTILIZATION if utilization is None else utilization,
        offloaded_bytes=int((offloaded or 0) * 2**30),
        gpu_memory_bytes=gpu_memory_bytes,
    )


def _training(spec: FusionRunSpec, reference: int, gpu_memory_bytes: int | None) -> TrainingDemand:
    training = spec.training
    return TrainingDemand(
        reference=reference,
        processes=training.nodes * training.processes_per_node,
        zero_stage=training.zero_stage,
        precision=training.precision,
        gradient_checkpointing=training.gradient_checkpointing,
        sft_micro_batch=training.sft.micro_batch_size,
        sft_global_batch=training.sft.global_batch_size,
        sft_max_length=training.sft.max_length or 0,
        dpo_micro_batch=training.dpo.micro_batch_size,
        dpo_global_batch=training.dpo.global_batch_size,
        dpo_max_length=training.dpo.max_length or 0,
        on_gpus=gpu_count(training.resources) > 0,
        offload=training.offload,
        lora=training.lora,
        gpu_memory_bytes=gpu_memory_bytes,
    )


def argument(arguments: Sequence[str], name: str) -> str | None:
    """Return the value of an argument in the form ``--name value`` or ``--name=value``; the last one counts."""
    found = None
    for at, text in enumerate(arguments):
        if text == name and at + 1 < len(arguments):
            found = arguments[at + 1]
        elif text.startswith(f"{name}="):
            found = text.removeprefix(f"{name}=")
    return found


def _number(text: str | None) -> float | None:
    return float(text) if text and re.fullmatch(r"[0-9]+(\.[0-9]*)?|\.[0-9]+", text) else None


def gpu_memory(spec: FusionRunSpec, nodes: Iterable[NodeGpus]) -> int | None:
    """Return the memory of one GPU in bytes: of the field, else the largest of the selected nodes; None if unknown.

    The largest counts, so that only what fits no node is refused.
    """
    if spec.scheduling.gpu_memory is not None:
        return quantity(spec.scheduling.gpu_memory)
    return _largest(node.labels for node in _selected(spec.scheduling.node_selector, nodes))


def gpu_memory_of_parts(spec: FusionRunSpec, nodes: Sequence[NodeGpus]) -> dict[str, int]:
    """Return the memory of one GPU of each part whose ``pod.nodeSelector`` names GPUs, by the part's field.

    It is that of the label in the selector, else the largest of the selected nodes, else the one in the product's name.
    Without any of these, ``scheduling.gpuMemory`` applies, and the part is left out. If that is not set either, the
    memory is not known (0), since that of the run may be the memory of other nodes.
    """
    found = {}
    for part in parts(spec):
        own = part.settings.node_selector or {}
        if part.field == RUN_WIDE or own.keys().isdisjoint((GPU_MEMORY_LABEL, *GPU_PRODUCT_LABELS)):
            continue
        selector = {**(spec.scheduling.node_selector or {}), **own}
        of_nodes = _largest(node.labels for node in _selected(selector, nodes))
        size = _largest([selector]) or of_nodes or _in_name(selector)
        if size or spec.scheduling.gpu_memory is None:
            found[part.field] = size or 0
    return found


def _largest(labels: Iterable[Mapping[str, str]]) -> int | None:
    """Return the largest memory of a GPU in bytes by the labels of nodes; None if none has it."""
    found = (each.get(GPU_MEMORY_LABEL, "") for each in labels)
    return max((int(label) * 2**20 for label in found if label.isdecimal()), default=None)


def _in_name(selector: Mapping[str, str]) -> int | None:
    """Return the memory in the name of a product, such as ``NVIDIA-H100-80GB-HBM3``: at least as much as the GPU has.

    The last number counts: that of ``NVIDIA-A100-SXM4-80GB-MIG-1g.10gb`` is 10.
    """
    sizes = [size for label in GPU_PRODUCT_LABELS for size in _MEMORY.findall(selector.get(label, ""))]
    return int(sizes[-1]) * 2**30 if sizes else None


def gpu_of_nodes(spec: FusionRunSpec, nodes: Iterable[NodeGpus]) -> GpuModel | None:
    """Return the GPU that ``scheduling.nodeSelector`` names, else the slowest of the selected nodes; None if unknown.

    Nodes whose GPU is not in the table of ``api.gpu_models`` are left out.
    """
    selector = spec.scheduling.node_selector or {}
    selected = [selector, *(node.labels for node in _selected(selector, nodes))]
    found = [[gpu_model(labels.get(label, "")) for label in GPU_PRODUCT_LABELS] for labels in selected]
    named, *of_nodes = [next((model for model in models if model), None) for models in found]
    return named or min((m for m in of_nodes if m), key=lambda m: (m.teraflops, m.terabytes), default=None)


def _selected(selector: Mapping[str, str] | None, nodes: Iterable[NodeGpus]) -> list[NodeGpus]:
    return [node for node in nodes if (selector or {}).items() <= node.labels.items()]
