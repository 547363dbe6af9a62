"""Fields of a FusionRun on where and when pods run, and on the pods of the stages without GPUs."""

from typing import Annotated

from pydantic import Field

from fusionrun.api.contract import Contract
from fusionrun.api.spec.pods import ObjectName, PodScheduling, PodSettings
from fusionrun.api.spec.resources import Quantity, Resources


class DataStages(Contract):
    """Pods of the stages that need no GPU."""

    resources: Resources | None = None
    """Compute resources of each pod of the stages resolve, fetch, prepare, generate, construct, judge, evaluate,
    compare and publish, of verify for mathematics, and of score with an endpoint. Limits must not include GPUs. Pods
    that run programs in the sandbox have fixed resources."""
    pod: PodSettings | None = None
    """Settings of the pods of the same stages. If omitted, those of ``scheduling`` and of the operator apply."""


class Sandbox(Contract):
    """Pods that run model-written programs: the stage verify for coding."""

    pod: PodScheduling | None = None
    """Settings of the pods. They have no variables, volumes, service account or capability, and only such labels and
    annotations as cannot open their network. If omitted, those of ``scheduling`` and of the operator apply."""


class Scheduling(PodScheduling):
    """Where and when pods are scheduled: defaults of all pods of the run, which ``pod`` of a part extends."""

    gpu_budget: Annotated[int, Field(ge=0, le=100_000)] | None = None
    """Maximum number of GPUs that the run uses at the same time. Stages wait until they fit. If omitted, there is no
    limit."""
    gpu_memory: Quantity | None = None
    """Memory of one GPU of the nodes that the run uses, such as ``80Gi``. ``resolve`` refuses models and training that
    cannot fit. If omitted, the label ``nvidia.com/gpu.memory`` of the nodes applies, if the operator may read nodes
    (the setting ``policy.checkNodes``); without it, the expected memory is only reported. A part whose
    ``pod.nodeSelector`` names GPUs by their labels is compared with the memory of these."""
    max_servers: Annotated[int, Field(ge=1, le=64)] | None = None
    """Maximum number of models that the run serves at the same time. If omitted, there is no limit."""
    queue_name: Annotated[str, Field(max_length=63)] | None = None
    """Kueue LocalQueue of the stages that request GPUs. If omitted, Kueue does not manage them. The integrations of
    Kueue for the kinds of these stages must be enabled."""
    cpu_queue_name: Annotated[str, Field(max_length=63)] | None = None
    """Kueue LocalQueue of the Jobs that use no GPU, among them the clients of the servers. Its ClusterQueue must not be
    that of ``queueName``: a client that waits behind a server would keep its own server idle. If omitted, Kueue does
    not manage them."""
    workload_priority_class_name: Annotated[str, Field(max_length=253)] | None = None
    """Kueue WorkloadPriorityClass of the stages that Kueue manages. It determines their order in the queue and which of
    them are preempted. If omitted, Kueue uses the priority of their pods."""
    gpu_runtime_class_name: ObjectName | None = None
    """RuntimeClass of the pods that use GPUs, such as ``nvidia`` on k3s and RKE2. If omitted, the cluster's default
    runtime is used."""
    sandbox_runtime_class_name: ObjectName | None = None
    """RuntimeClass of the pods that run model-written programs, such as gVisor or Kata. If omitted, the cluster's
    default runtime is used. Nodes without Landlock are refused unless the operator's settings list the class as
    isolating."""
