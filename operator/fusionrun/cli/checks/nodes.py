"""Nodes: Kubernetes, GPUs, kernels, RuntimeClasses and storage."""

import re
from collections.abc import Iterator, Mapping

from fusionrun.cli.checks.finding import Finding, Item, Level, Reader, numbers, required, useful

KUBERNETES_MIN = (1, 29)
"""Sidecar containers and ``podFailurePolicy``. Source: docs/operations.md, "Install"."""
DRIVER_MIN = 580
"""Source: docs/operations.md, "GPU images"."""
KERNEL_MIN = (5, 13)
"""Linux with Landlock. Source: kernel documentation, "Landlock"."""
ISOLATING = re.compile(r"runsc|gvisor|kata", re.IGNORECASE)
SHARED_STORAGE = re.compile(
    r"nfs|cephfs|efs|filestore|file\.csi|azurefile|lustre|weka|juicefs|gpfs|spectrumscale|beegfs|vast|netapp|trident",
    re.IGNORECASE,
)
"""Provisioners that usually offer ReadWriteMany. A StorageClass does not say which access modes it supports."""


def kubernetes(reader: Reader, _namespace: str) -> Iterator[Finding]:
    """Check the version of Kubernetes."""
    version = reader.read("version")["serverVersion"]["gitVersion"]
    least = ".".join(map(str, KUBERNETES_MIN))
    is_new = numbers(version)[:2] >= KUBERNETES_MIN
    yield Finding("Kubernetes", required(is_met=is_new), version, "" if is_new else f"upgrade to {least} or newer")


def gpus(reader: Reader, _namespace: str) -> Iterator[Finding]:
    """Check GPUs, their model and driver, and the kernel of the nodes."""
    nodes = reader.read("get", "nodes")["items"]
    models: dict[str, list[int]] = {}
    drivers = set()
    for node in nodes:
        labels, count = node["metadata"].get("labels") or {}, _gpus(node)
        if count:
            models.setdefault(_model(node), []).append(count)
            drivers.add(
                labels.get("nvidia.com/cuda.driver.major") or labels.get("nvidia.com/cuda.driver-version.major")
            )
    shown = [f"{len(counts)} x {'/'.join(map(str, sorted({*counts})))} {model}" for model, counts in models.items()]
    advice = (
        "install the device plugin of your GPUs (NVIDIA: GPU operator), or set cpu.enabled in the chart to run the toy "
        "models on CPUs"
    )
    yield Finding(
        "GPUs (nodes x GPUs)", useful(is_met=bool(models)), "; ".join(shown) or "none", "" if models else advice
    )
    known = sorted(int(driver) for driver in drivers if driver)
    if models and known:
        is_new = known[0] >= DRIVER_MIN
        advice = "" if is_new else f"upgrade to {DRIVER_MIN} or newer"
        yield Finding("NVIDIA driver", required(is_met=is_new), ", ".join(map(str, known)), advice)
    elif models:
        advice = f"must be {DRIVER_MIN} or newer for NVIDIA; GPU feature discovery adds the label"
        yield Finding("NVIDIA driver", Level.UNKNOWN, "no label nvidia.com/cuda.driver.major", advice)
    kernels = sorted({node["status"]["nodeInfo"]["kernelVersion"] for node in nodes}, key=numbers)
    has_landlock = bool(kernels) and numbers(kernels[0])[:2] >= KERNEL_MIN
    advice = "" if has_landlock else "Landlock needs 5.13: use a RuntimeClass such as gvisor for runs with coding"
    yield Finding("kernels", useful(is_met=has_landlock), ", ".join(kernels), advice)


def _gpus(node: Item) -> int:
    allocatable: Mapping[str, str] = node["status"].get("allocatable") or {}
    return sum(int(count) for name, count in allocatable.items() if name.endswith("/gpu") and count.isdecimal())


def _model(node: Item) -> str:
    labels = node["metadata"].get("labels") or {}
    memory = labels.get("nvidia.com/gpu.memory")
    name: str = labels.get("nvidia.com/gpu.product") or "GPU of unknown model"
    return f"{name} ({memory} MiB)" if memory else name


def storage(reader: Reader, namespace: str) -> Iterator[Finding]:
    """Check StorageClasses, and the claims of the namespace."""
    classes = reader.read("get", "storageclasses")["items"]
    shown = [f"{each['metadata']['name']}{_default(each)} ({each['provisioner']})" for each in classes]
    shared = any(SHARED_STORAGE.search(each["provisioner"]) for each in classes)
    advice = (
        "create the PersistentVolume of the claim yourself, or install a CSI driver" if not classes
        else "" if shared
        else "no class is known for ReadWriteMany, which runs on several nodes need; one node works with ReadWriteOnce"
    )  # fmt: skip
    yield Finding("StorageClasses", useful(is_met=shared), ", ".join(shown) or "none", advice)
    claims = reader.read("get", "persistentvolumeclaims", "-n", namespace)["items"]
    shown = [_claim(each) for each in claims]
    advice = "" if claims else "create one: manifests/samples/claims"
    yield Finding(f"claims in {namespace}", useful(is_met=bool(claims)), ", ".join(shown) or "none", advice)


def _default(storage_class: Item) -> str:
    annotations = storage_class["metadata"].get("annotations") or {}
    return " [default]" if annotations.get("storageclass.kubernetes.io/is-default-class") == "true" else ""


def _claim(claim: Item) -> str:
    spec, status = claim["spec"], claim.get("status") or {}
    size = (status.get("capacity") or spec["resources"]["requests"])["storage"]
    return f"{claim['metadata']['name']} ({size}, {'/'.join(spec['accessModes'])}, {status.get('phase', 'Pending')})"


def runtime_classes(reader: Reader, _namespace: str) -> Iterator[Finding]:
    """Check RuntimeClasses for GPUs and for programs that models wrote."""
    classes = reader.read("get", "runtimeclasses")["items"]
    names = [each["metadata"]["name"] for each in classes]
    isolating = [n for n, c in zip(names, classes, strict=True) if ISOLATING.search(f"{n} {c.get('handler', '')}")]
    advice = (
        f"set scheduling.sandboxRuntimeClassName to {isolating[0]}" if isolating
        else "optional: gVisor or Kata isolate programs that models wrote; without, leave out sandboxRuntimeClassName"
    )  # fmt: skip
    if "nvidia" in names:
        advice += "; nvidia: set scheduling.gpuRuntimeClassName, unless it is the default runtime of the nodes"
    yield Finding("RuntimeClasses", useful(is_met=bool(isolating)), ", ".join(names) or "none", advice)
