"""Compute what a reward model puts on top of its language model in 32 bits, and the language model as it is.

Scores near 0.1 in bfloat16 lie 0.0005 apart: ties abound, and a margin of 0.01 is twenty steps. The head is small, so
the exact arithmetic costs nothing.
"""

from typing import Any


def make_exact(model: Any) -> None:
    """Turn every parameter outside of the language model to 32 bits, and what the language model hands over.

    Parameters
    ----------
    model
        A model one or more of whose children are language models (``PreTrainedModel``); one without any is left as it
        is, since nothing tells where its head begins.
    """
    from transformers import PreTrainedModel

    backbones = [child for child in model.children() if isinstance(child, PreTrainedModel)]
    if not backbones:
        return
    shared = {id(parameter) for backbone in backbones for parameter in backbone.parameters()}
    for child in model.children():
        # A weight tied to the language model's embedding would take that along.
        if child not in backbones and shared.isdisjoint(map(id, child.parameters())):
            child.float()
    for tensor in (*model.parameters(recurse=False), *model.buffers(recurse=False)):
        tensor.data = _exact(tensor.data)
    for backbone in backbones:
        backbone.register_forward_hook(_hand_over)


def _hand_over(_: Any, __: Any, output: Any) -> Any:
    """Cast the tensors of a language model's output; a hook of torch."""
    if isinstance(output, tuple):
        return tuple(_exact(value) for value in output)
    for name, value in output.items():
        output[name] = _exact(value)
    return output


def _exact(value: Any) -> Any:
    import torch

    if isinstance(value, tuple):
        return tuple(_exact(one) for one in value)
    return value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value
