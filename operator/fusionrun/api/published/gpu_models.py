"""Peak speeds of GPUs by the names that drivers and node labels give them.

Sources: NVIDIA's data sheets and architecture whitepapers of each product. bf16 is dense: halved where they state the
rate with sparsity only; for RTX cards it is the rate with fp32 accumulation. A10G: Amazon's figures for the G5
instances. B200: the data sheet of DGX B200, divided by its 8 GPUs. GH200: the version with HBM3.
"""

from typing import NamedTuple


class GpuModel(NamedTuple):
    """A model of GPU."""

    name: str
    """Words of the names of its devices."""
    teraflops: float
    """Peak dense bf16 TFLOP/s, without sparsity."""
    terabytes: float
    """Peak bandwidth of its memory, in TB/s."""

    @property
    def flops(self) -> float:
        """Peak bf16 FLOP/s."""
        return self.teraflops * 1e12

    @property
    def bandwidth(self) -> float:
        """Bytes per second of its memory."""
        return self.terabytes * 1e12


H100 = GpuModel("H100", 989.4, 3.35)
"""H100 SXM."""
GPU_MODELS = (
    GpuModel("GB200", 2500.0, 8.0),
    GpuModel("B200", 2250.0, 8.0),
    GpuModel("H200 NVL", 835.5, 4.8),
    GpuModel("H200", 989.4, 4.8),
    GpuModel("GH200", 989.4, 4.0),
    GpuModel("H100 PCIe", 756.0, 2.0),
    GpuModel("H100 NVL", 835.5, 3.9),
    H100,
    GpuModel("H800 PCIe", 756.0, 2.0),
    H100._replace(name="H800"),
    GpuModel("A100 SXM4 80GB", 312.0, 2.039),
    GpuModel("A100 80GB", 312.0, 1.935),
    GpuModel("A100", 312.0, 1.555),
    GpuModel("A800 SXM4 80GB", 312.0, 2.039),
    GpuModel("A800 80GB", 312.0, 1.935),
    GpuModel("A800", 312.0, 1.555),
    GpuModel("L40S", 362.0, 0.864),
    GpuModel("L40", 181.0, 0.864),
    GpuModel("L4", 121.0, 0.3),
    GpuModel("A40", 149.7, 0.696),
    GpuModel("A30", 165.0, 0.933),
    GpuModel("A10G", 70.0, 0.6),
    GpuModel("A10", 125.0, 0.6),
    GpuModel("RTX 6000 Ada", 364.2, 0.96),
    GpuModel("RTX 4090", 165.2, 1.008),
    GpuModel("RTX 3090", 71.0, 0.936),
)
"""Each before those whose name is a part of its own."""
_PARTS = (" MIG ", " SHARED ")
"""Words in the names of parts of a GPU, and of GPUs that several pods share. Source: NVIDIA GPU feature discovery."""


def gpu_model(name: str) -> GpuModel | None:
    """Return the model of a GPU by its name; None if it is not known, or if the name is that of a part of a GPU.

    Names are those of CUDA devices (``NVIDIA A100-SXM4-80GB``), or of the label ``nvidia.com/gpu.product`` of nodes,
    which has hyphens for spaces.
    """
    words = f" {name.replace('-', ' ').upper()} "
    if any(part in words for part in _PARTS):
        return None
    return next((model for model in GPU_MODELS if f" {model.name.upper()} " in words), None)
