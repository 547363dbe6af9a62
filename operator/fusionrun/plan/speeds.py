"""How fast GPUs and endpoints are expected to be. Pure.

Every number here is an assumption but the data sheets of GPUs (``api.gpu_models``); docs/preflight.md has the
derivations.
"""

from fusionrun.api.published.gpu_models import H100, GpuModel
from fusionrun.plan.requests import Requests

ASSUMED_GPU = H100
"""The GPU of a run whose nodes do not tell theirs."""
DECODE_BATCH = 256
"""Sequences that a model server generates at the same time."""
DECODE_BANDWIDTH_SHARE, DECODE_FLOPS_SHARE, PREFILL_SHARE, TRAIN_SHARE = 0.6, 0.25, 0.4, 0.35
"""Assumed shares of the peaks: reading weights and computing in decoding, one forward pass, and training (MFU)."""
ENDPOINT_TOKENS_PER_SECOND = 50.0
"""Assumed tokens per second of one request to an endpoint."""


def decode_tokens_per_second(parameters: int, gpus: int, gpu: GpuModel = ASSUMED_GPU) -> float:
    """Return the tokens that one replica generates per second.

    A step of ``DECODE_BATCH`` sequences reads all weights (2 bytes each) once and computes 2 FLOPs per parameter and
    token; both are divided over the GPUs of the replica. Reading the KV cache is left out.
    """
    reading = 2 * parameters / (gpus * gpu.bandwidth * DECODE_BANDWIDTH_SHARE)
    computing = DECODE_BATCH * 2 * parameters / (gpus * gpu.flops * DECODE_FLOPS_SHARE)
    return DECODE_BATCH / (reading + computing)


def serving_seconds(requests: Requests, parameters: int, gpus: int, gpu: GpuModel = ASSUMED_GPU) -> float:
    """Return the seconds in which one replica reads all prompts and generates all responses."""
    reading = forward_seconds(requests.prompt_tokens, parameters, gpus, gpu)
    return reading + requests.completion_tokens / decode_tokens_per_second(parameters, gpus, gpu)


def forward_seconds(tokens: float, parameters: int, gpus: int, gpu: GpuModel = ASSUMED_GPU) -> float:
    """Return the seconds of a forward pass: 2 FLOPs per parameter and token."""
    return 2 * parameters * tokens / (gpus * gpu.flops * PREFILL_SHARE)


def training_seconds(tokens: float, flops_per_token: float, gpus: int, gpu: GpuModel = ASSUMED_GPU) -> float:
    """Return the seconds of a training."""
    return tokens * flops_per_token / (gpus * gpu.flops * TRAIN_SHARE)


def endpoint_seconds(completion_tokens: float, in_flight: int) -> float:
    """Return the seconds in which an endpoint responds, with a number of requests in flight."""
    return completion_tokens / (ENDPOINT_TOKENS_PER_SECOND * in_flight)
