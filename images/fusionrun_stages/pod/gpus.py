"""GPUs of a pod: a stage uses the GPUs that the pod requests, and never falls back to CPUs."""

import logging
import os
import re
from pathlib import Path
from typing import Any

from fusionrun_stages.errors import UserError

log = logging.getLogger("fusionrun_stages")

MINIMUM_DRIVERS = {"11": 450, "12": 525, "13": 580}
"""Oldest branch of the NVIDIA driver, by major version of CUDA.

Source: NVIDIA, "CUDA Compatibility", Minor Version Compatibility, table 1.
"""
DRIVER_FILE = Path("/proc/driver/nvidia/version")
"""Readable in every container on a node with the NVIDIA kernel module."""
DEVICE_FOLDER = Path("/dev")
REASON_CHARACTERS = 200


def require_gpus(count: int) -> None:
    """Check that PyTorch can use the GPUs that this pod requests; hide all GPUs from a pod that requests none.

    Call it before anything initializes CUDA. Under torchrun every process calls it, and each needs all GPUs of its pod.
    PyTorch is not imported if ``count`` is 0.

    On a node that exposes every GPU to every pod, a GPU that the pod did not request belongs to another pod.
    """
    if not count:
        if any(DEVICE_FOLDER.glob("nvidia[0-9]*")):
            log.warning(
                "the pod has NVIDIA devices and requests none: they are not used; to use a GPU, set a limit on a "
                "resource whose name ends in /gpu, such as nvidia.com/gpu"
            )
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        return
    import torch

    # device_count may use NVML, which also counts GPUs that CUDA cannot use, for example if the driver is too old.
    visible = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if visible < count:
        raise UserError(f"GPUs: the pod requests {count} and PyTorch sees {visible}: {_explain(torch)}")


def _explain(torch: Any) -> str:
    """Return the versions of PyTorch, CUDA and the driver, and how to fix the problem."""
    cuda = torch.version.cuda
    if cuda is None:
        return (
            f"PyTorch {torch.__version__} is not built for CUDA: set images.train and images.reward to images of the "
            "CUDA flavour"
        )
    needed = MINIMUM_DRIVERS.get(cuda.split(".")[0])
    driver = _driver()
    newer = f"{needed} or newer" if needed else "that supports it"
    facts = (
        f"PyTorch {torch.__version__} is built for CUDA {cuda} and needs an NVIDIA driver {newer}; the node's driver "
        f"is {driver or f'unknown: {DRIVER_FILE} cannot be read'}"
    )
    if driver and needed and int(driver.split(".")[0]) < needed:
        fix = "upgrade the driver"
    else:
        fix = (
            "set spec.scheduling.gpuRuntimeClassName if pods with GPUs need a RuntimeClass (k3s and RKE2: nvidia)"
            + ("" if driver else ", or install the driver")
            + ", and check the node's device plugin"
        )
    reason = _reason(torch)
    return f"{facts}; {fix}" + (f" ({reason})" if reason else "")


def _driver() -> str | None:
    """Return the version of the node's NVIDIA driver, such as ``580.65.06``."""
    try:
        version = re.search(r"\b\d{3,}\.\d+(\.\d+)?\b", DRIVER_FILE.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    return version[0] if version else None


def _reason(torch: Any) -> str:
    """Return PyTorch's error if CUDA cannot be used; otherwise an empty string."""
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return str(error).strip().split("\n")[0][:REASON_CHARACTERS]
    return ""
