"""The GPU of this machine, and the rate of matrix products that it reaches."""

import time
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Device:
    """The device of a check."""

    name: str
    memory_bytes: int
    torch: str
    matmul_flops: float
    """Measured bf16 FLOP/s of a product of two square matrices; 0 on CPUs. The MFU is relative to it."""


def find_gpu() -> tuple[Device | None, str]:
    """Return the first GPU, or None and the reason."""
    try:
        import torch
    except ImportError:
        return None, "this Python has no torch"
    if not torch.cuda.is_available():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "not built for CUDA"
        return None, f"PyTorch {torch.__version__}, {built}, sees no GPU"
    properties = torch.cuda.get_device_properties(0)
    return Device(properties.name, properties.total_memory, torch.__version__, measure_matmul(torch, 8192)), ""


def cpu() -> Device:
    """Return the CPUs as a device, for tests of the check itself."""
    import torch

    return Device("CPU", 0, torch.__version__, 0.0)


def measure_matmul(torch: Any, size: int, repeats: int = 10) -> float:
    """Return the FLOP/s of a bf16 product of two (size, size) matrices, after three products that are not counted."""
    a, b = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        a @ b
    torch.cuda.synchronize()
    started = time.monotonic()
    for _ in range(repeats):
        a @ b
    torch.cuda.synchronize()
    seconds = time.monotonic() - started
    del a, b
    torch.cuda.empty_cache()  # the parts run in other processes
    return 2 * size**3 * repeats / seconds
