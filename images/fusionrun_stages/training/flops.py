"""Model FLOPs utilisation (MFU): the share of the GPUs' peak that the model's own arithmetic uses."""

from collections.abc import Iterable
from typing import Any


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
