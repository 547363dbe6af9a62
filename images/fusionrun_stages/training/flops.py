"""Model FLOPs utilisation (MFU): the share of the GPUs' peak that the model's own arithmetic uses."""

from collections.abc import Iterable
from typing import Any

PEAK_TERAFLOPS = {
    "GB200": 2500.0,
    "B200": 2250.0,
    "H200 NVL": 835.5,
    "H200": 989.4,
    "GH200": 989.4,
    "H100 PCIe": 756.0,
    "H100 NVL": 835.5,
    "H100": 989.4,
    "H800 PCIe": 756.0,
    "H800": 989.4,
    "A100": 312.0,
    "A800": 312.0,
    "L40S": 362.0,
    "L40": 181.0,
    "L4": 121.0,
    "A40": 149.7,
    "A30": 165.0,
    "A10G": 70.0,
    "A10": 125.0,
    "RTX 6000 Ada": 364.2,
    "RTX 4090": 165.2,
    "RTX 3090": 71.0,
}
"""Peak dense bf16 TFLOP/s, without sparsity, by a part of the name of the GPU; the first that fits.

Source: NVIDIA's data sheets and architecture whitepapers of each product (halved where they state sparsity only). For
RTX cards it is the rate with fp32 accumulation. A10G: Amazon's figure for the G5 instances.
"""


def peak_flops(name: str) -> float | None:
    """Return the peak bf16 FLOP/s of a GPU by its name (``torch.cuda.get_device_name``); None if it is not known."""
    words = f" {name.replace('-', ' ')} "
    return next((1e12 * peak for part, peak in PEAK_TERAFLOPS.items() if f" {part} " in words), None)


def count_parameters(parameters: Iterable[Any]) -> tuple[int, int]:
    """Return the numbers of all and of trained parameters.

    Under ZeRO-3 a parameter is empty between its uses; DeepSpeed keeps its size in ``ds_numel``.
    """
    sizes = [(getattr(p, "ds_numel", p.numel()), p.requires_grad) for p in parameters]
    return sum(size for size, _ in sizes), sum(size for size, is_trained in sizes if is_trained)


def flops_per_token(parameters: Iterable[Any], *, with_reference: bool) -> float:
    """Return the FLOPs of one training step per token.

    2 per parameter in the forward pass, 2 in the backward pass for activations and 2 for the gradients of the
    parameters that are trained (with LoRA, few of them); with a reference model, 2 more per parameter. Attention scores
    and recomputed activations are not counted.
    Source: Kaplan et al. (arXiv 2001.08361), section 2.1, 6N per token; PaLM (arXiv 2204.02311), appendix B, MFU.
    """
    total, trained = count_parameters(parameters)
    return 4.0 * total + 2.0 * trained + (2.0 * total if with_reference else 0.0)
