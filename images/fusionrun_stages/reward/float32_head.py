"""The head of a reward model in float32, on top of a language model in any dtype.

The step of bfloat16 near 0.1 is 0.0005: many scores would be equal, and a margin of 0.01 would be twenty steps. The
head is small, so float32 needs hardly more time or memory.
"""

from typing import Any


def compute_head_in_float32(model: Any) -> None:
    """Convert every parameter outside the language model, and the language model's output, to float32.

    The language models are the children of type ``PreTrainedModel``. A model without one is not changed: its head
    cannot be identified.
    """
    from transformers import PreTrainedModel

    backbones = [child for child in model.children() if isinstance(child, PreTrainedModel)]
    if not backbones:
        return
    shared = {id(parameter) for backbone in backbones for parameter in backbone.parameters()}
    for child in model.children():
        # Do not convert a weight tied to the language model's embedding.
        if child not in backbones and shared.isdisjoint(map(id, child.parameters())):
            child.float()
    for tensor in (*model.parameters(recurse=False), *model.buffers(recurse=False)):
        tensor.data = _to_float32(tensor.data)
    for backbone in backbones:
        backbone.register_forward_hook(_convert_output)


def _convert_output(_: Any, __: Any, output: Any) -> Any:
    """Convert a language model's output; a forward hook."""
    if isinstance(output, tuple):
        return _to_float32(output)
    for name, value in output.items():
        output[name] = _to_float32(value)
    return output


def _to_float32(value: Any) -> Any:
    """Convert floating-point tensors, also inside tuples, and return anything else unchanged."""
    import torch

    if isinstance(value, tuple):
        return tuple(_to_float32(item) for item in value)
    return value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value
