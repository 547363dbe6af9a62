"""Settings of the operator: images, ports and intervals. ``settings_file`` reads them from a file."""

import ipaddress
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field

from fusionrun.api.spec.pods import PodSettings

_CLOSED = ConfigDict(extra="forbid")
"""An unknown field of the settings file is an error."""


def _network(text: str) -> str:
    """Return a network in its usual form; raise ValueError if it is none."""
    return str(ipaddress.ip_network(text))


@dataclass(frozen=True)
class Images:
    """Image references; images/README.md lists the stages that run in each image."""

    __pydantic_config__ = _CLOSED

    data: str
    serve: str
    train: str
    reward: str
    sandbox: str
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Policy:
    """What runs may use (``plan.policy``): patterns, in which ``*`` stands for any text and ``!`` excludes.

    The defaults are those of the chart (helm/fusionrun/values.yaml), which explains each of them.
    """

    __pydantic_config__ = _CLOSED

    secrets: tuple[str, ...] = ("*", "!sh.helm.release.*")
    hubs: tuple[str, ...] = ("https://*",)
    """Scheme, host and port of hubs, such as ``https://huggingface.co`` or ``http://mirror.models.svc:8080``."""
    endpoints: tuple[str, ...] = ("https://*",)
    """Scheme, host and port of the endpoints of sources, of the reward model and of the judge."""
    environment: tuple[str, ...] = (
        "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
        "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
        "AWS_*", "!AWS_CONFIG_FILE", "!AWS_SHARED_CREDENTIALS_FILE", "HF_HUB_*", "HF_XET_*",
        "NCCL_*", "!NCCL_*_PLUGIN", "!NCCL_*_PATH", "!NCCL_*LIB*", "!NCCL_CONF_FILE", "TORCH_NCCL_*", "GLOO_*",
        "UCX_*", "!UCX_MODULE*", "!UCX_GDB_COMMAND", "FI_*", "!FI_PROVIDER_PATH",
        "OMP_NUM_THREADS", "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "TZ",
    )  # fmt: skip
    """Environment variables. None of these makes a program load code or run a command."""
    service_accounts: tuple[str, ...] = ()
    """ServiceAccounts: a cloud may give rights to the pods of one."""
    labels: tuple[str, ...] = ("*", "!aadpodidbinding")
    """Keys of labels of pods."""
    annotations: tuple[str, ...] = (
        "*", "!iam.amazonaws.com/*", "!sidecar.istio.io/proxyImage*", "!sidecar.istio.io/userVolume*",
        "!sidecar.istio.io/bootstrapOverride", "!inject.istio.io/*", "!config.linkerd.io/*image*",
        "!vault.hashicorp.com/*", "!dapr.io/*", "!instrumentation.opentelemetry.io/*", "!cdi.k8s.io/*",
        "!devices.gke.io/*", "!devices.nri.io*", "!mounts.nri.io*", "!io.katacontainers.*", "!io.kubernetes.cri-o.*",
    )  # fmt: skip
    """Keys of annotations of pods. The excluded ones give a pod an identity, an image, a volume, a device, or code.

    Sources: kube2iam; Istio, "Resource Annotations"; Linkerd, "Proxy Configuration"; Vault, "Agent Sidecar Injector
    annotations"; Dapr, "Arguments and annotations"; OpenTelemetry Operator; CDI, ``pkg/cdi/annotations.go``; GKE,
    "GPUDirect"; NRI, ``plugins/device-injector``; Kata Containers; CRI-O.
    """
    ipc_lock: bool = False
    """Whether pods may have the capability IPC_LOCK, which the baseline Pod Security Standard forbids."""
    priority_classes: tuple[str, ...] = ("*", "!system-*")
    workload_priority_classes: tuple[str, ...] = ("*",)
    """Names of Kueue's WorkloadPriorityClasses."""
    node_selectors: tuple[str, ...] = ("*", "!node-role.kubernetes.io/control-plane", "!node-role.kubernetes.io/master")
    """Label keys. Without a toleration, the taints of the control plane keep pods away as well."""
    tolerations: tuple[str, ...] = ("*", "!node-role.kubernetes.io/control-plane", "!node-role.kubernetes.io/master")
    """Keys of taints. The empty pattern allows a toleration without a key, which tolerates every taint."""
    runtime_classes: tuple[str, ...] = ("*",)
    isolating_runtime_classes: tuple[str, ...] = ("gvisor", "runsc", "kata", "kata-*")
    """RuntimeClasses that isolate programs from the node's kernel: only with one of them is Landlock not required."""
    require_isolating_runtime_class: bool = False
    """Refuse a run that executes model-written programs without one of them."""
    max_gpus_per_pod: int = 8
    """GPUs of the largest node. Most have 8: AWS p5.48xlarge, Google a3-highgpu-8g, Azure ND-H100-v5, NVIDIA DGX H100;
    Google a2-megagpu-16g has 16."""
    check_nodes: bool = False
    """Refuse a run with a pod that has more GPUs than every node. For clusters that do not add nodes of other sizes."""


def _default_gpus() -> dict[str, float]:
    """Return the accelerators that count as GPUs: the default of the chart value ``accelerators.gpus``.

    Sources: the device plugins of NVIDIA (k8s-device-plugin: ``gpu.shared`` with time-slicing, ``mig-*`` with the MIG
    strategy ``mixed``), AMD, Intel (GPU and Gaudi), Google (GKE) and AWS (Neuron). A MIG device counts as its share of
    the 7 compute slices of an A100, H100 or H200 (NVIDIA, "Multi-Instance GPU User Guide"). A Neuron device of Trn1 and
    Inf2 has 2 cores.
    """
    return {
        "*/gpu": 1,
        "*/gpu.shared": 1,
        "nvidia.com/mig-1g.*": 0.142857,
        "nvidia.com/mig-2g.*": 0.285714,
        "nvidia.com/mig-3g.*": 0.428571,
        "nvidia.com/mig-4g.*": 0.571429,
        "nvidia.com/mig-7g.*": 1,
        "gpu.intel.com/i915": 1,
        "gpu.intel.com/xe": 1,
        "habana.ai/gaudi": 1,
        "google.com/tpu": 1,
        "aws.amazon.com/neuron": 1,
        "aws.amazon.com/neurondevice": 1,
        "aws.amazon.com/neuroncore": 0.5,
    }


@dataclass(frozen=True)
class Price:
    """The price of an accelerator."""

    __pydantic_config__ = _CLOSED

    resource: str
    """Pattern of the name of the resource, such as ``nvidia.com/gpu``."""
    per_hour: Annotated[float, Field(ge=0)]
    """Price of one unit of the resource for an hour."""
    node_selector: dict[str, str] = field(default_factory=dict)
    """Labels that the node selector of the pod must have, with patterns of their values; empty for every pod."""


@dataclass(frozen=True)
class Accelerators:
    """Which extended resources count as GPUs, and what they cost. In patterns, ``*`` stands for any text."""

    __pydantic_config__ = _CLOSED

    gpus: dict[str, Annotated[float, Field(ge=0)]] = field(default_factory=_default_gpus)
    """Number of GPUs that one unit counts as, by pattern of the resource's name. The longest matching pattern applies.
    """
    prices: tuple[Price, ...] = ()
    """The first price that matches a pod applies; without one, a resource costs nothing."""
    currency: str = ""
    """Currency of the prices, for display, such as ``USD``."""


@dataclass(frozen=True)
class Settings:
    """Settings of one operator process."""

    __pydantic_config__ = _CLOSED

    images: Images
    namespaces: tuple[str, ...] = ()
    """Namespaces to watch; empty for all."""
    lease_namespace: str = ""
    """Namespace of the Lease that only one of several operators holds; if empty, this operator acts without one."""
    progress_url: str = ""
    """Base URL of the operator's progress endpoint for pods, e.g. ``http://fusionrun.fusionrun-system:8090``."""
    progress_port: int = 8090
    metrics_port: int = 8000
    health_port: int = 8080
    resync_seconds: float = 600.0
    """Time between two resyncs, which list all objects and reconcile every unfinished run."""
    monitoring_namespaces: tuple[str, ...] = ()
    """Namespaces whose pods may connect to the metrics ports of stage pods, and to that of model servers."""
    blocked_networks: tuple[Annotated[str, AfterValidator(_network)], ...] = ()
    """Networks (CIDR) to which ordinary stage pods may not connect, e.g. ``169.254.169.254/32``."""
    server_key_file: str = ""
    """File with the key from which the API keys of model servers are derived; if empty, servers ask for none."""
    server_key: bytes = field(default=b"", repr=False)
    """Content of ``server_key_file``; not a field of the settings file."""
    missing_seconds: float = 5.0
    """Time until a missing prerequisite is looked up again."""
    log_format: Literal["json", "text"] = "text"
    """Format of the logs of stages; that of the operator is an argument."""
    cpu_environment: dict[str, str] = field(default_factory=dict)
    """Environment variables of every server and training pod, e.g. ``VLLM_CPU_KVCACHE_SPACE`` on nodes without GPUs."""
    serve_extra_args: tuple[str, ...] = ()
    """Arguments added to every ``vllm serve``, e.g. ``--enforce-eager`` on nodes without GPUs."""
    default_requests: dict[str, str] = field(default_factory=lambda: {"cpu": "100m", "memory": "256Mi"})
    """Resource requests of a pod whose stage sets none."""
    cpu_request_per_gpu: Annotated[float, Field(ge=0)] = 3
    """CPUs that a pod requests per GPU if its part of the spec sets neither a request nor a limit of CPUs; 0 for none.

    Without a request, a pod has the least weight on a busy node (``cpu.weight``), and the GPUs wait for the scheduler
    of vLLM, tokenizers and NCCL's threads. 3 CPUs fit the smallest GPU nodes, which have 4 (AWS g6.xlarge, Google
    g2-standard-4); nodes with 8 H100 have 22 or more per GPU. vLLM asks for at least 2 + N cores for N GPUs.
    Source: vLLM, "Optimization and Tuning", "CPU Resources for GPU Deployments".
    """
    default_limits: dict[str, str] = field(default_factory=lambda: {"memory": "4Gi"})
    pod_defaults: PodSettings = field(default_factory=PodSettings)
    """Settings of all stage pods, which those of a run extend; pods of the sandbox take no variables and volumes."""
    gpu_pod_defaults: PodSettings = field(default_factory=PodSettings)
    """Settings of the stage pods that request GPUs, which extend ``pod_defaults``."""
    tmp_size_limit: str = "20Gi"
    """Maximum size of ``/tmp`` of a stage's pod, on the node's disk; empty for no limit."""
    shared_memory_size_limit: str = "16Gi"
    """Maximum size of ``/dev/shm`` of a pod that runs torch, which also counts for its memory; empty for no limit."""
    fixed_user: bool = True
    """Run pods as UID and GID 1000. If false, the cluster assigns both (OpenShift's SCC restricted-v2)."""
    policy: Policy = Policy()
    accelerators: Accelerators = field(default_factory=Accelerators)
