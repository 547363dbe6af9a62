"""Whether each pod with GPUs can fit a node: by ``policy.maxGpusPerPod``, and by the nodes that exist."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fusionrun.api.spec.pods import PodSettings
from fusionrun.api.spec.resources import Resources
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.errors import SpecError
from fusionrun.plan.gpus import gpu_count, gpu_limits
from fusionrun.plan.servers import all_servers


@dataclass(frozen=True)
class NodeGpus:
    """The labels of a node and its GPUs that pods can use, by the name of the resource."""

    labels: Mapping[str, str]
    gpus: Mapping[str, int]


@dataclass(frozen=True)
class _Pod:
    """A pod with GPUs: the field with its resources and settings, and what must change if it is too large."""

    field: str
    resources: Resources
    settings: PodSettings | None
    advice: str


def too_large(spec: FusionRunSpec, max_gpus: int, nodes: Sequence[NodeGpus] = ()) -> Iterator[SpecError]:
    """Yield the pods that have more GPUs than ``max_gpus``, or than every node that the spec selects.

    Labels of the pod's own ``nodeSelector`` extend those of the run. Nodes without a GPU of the same resource say
    nothing: an autoscaler may add the first one.
    """
    of_run = spec.scheduling.node_selector or {}
    for pod in _pods(spec):
        own = (pod.settings.node_selector if pod.settings else None) or {}
        selected = [node for node in nodes if {**of_run, **own}.items() <= node.labels.items()]
        count, names = gpu_count(pod.resources), ", ".join(gpu_limits(pod.resources.limits))
        field = f"{pod.field}.resources.limits[{names}]"
        largest = max(
            (sum(node.gpus.get(n, 0) for n in gpu_limits(pod.resources.limits)) for node in selected), default=0
        )
        if count > max_gpus:
            rule = f"a pod may have at most {max_gpus} GPUs (policy.maxGpusPerPod of the operator, the largest node)"
            yield SpecError(field, count, f"{rule}: {pod.advice}")
        elif 0 < largest < count:
            named = {"scheduling.nodeSelector": of_run, "pod.nodeSelector": own}
            selectors = " and ".join(name for name, labels in named.items() if labels)
            which = f" with the labels of {selectors}" if selectors else ""
            yield SpecError(field, count, f"the largest node{which} has {largest} GPUs for pods: {pod.advice}")


def _pods(spec: FusionRunSpec) -> Iterator[_Pod]:
    found = [
        _Pod(
            field,
            server.resources,
            server.pod,
            f"a replica with tensorParallelSize {server.tensor_parallel_size} x pipelineParallelSize "
            f"{server.pipeline_parallel_size} is one pod: lower them, use a quantised model, or add a larger node",
        )
        for field, server in all_servers(spec)
        if server.resources
    ]
    training = spec.training
    if training.resources:
        advice = "lower processesPerNode and raise nodes, or add a larger node"
        found.append(_Pod("training", training.resources, training.pod, advice))
    if (reward := spec.reward_model).resources:
        found.append(_Pod("rewardModel", reward.resources, reward.pod, "score uses one GPU per pod: lower it"))
    if (data := spec.data_stages).resources:
        found.append(_Pod("dataStages", data.resources, data.pod, "lower it"))
    # The checks of the spec report a count that is not a whole number.
    return (
        p for p in found if all(isinstance(v, int) or v.isdecimal() for v in gpu_limits(p.resources.limits).values())
    )
