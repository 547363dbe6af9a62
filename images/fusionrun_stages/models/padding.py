"""Attention without a mask for rows that are padded on the right."""

from typing import Any


def drop_padding_mask(model: Any) -> None:
    """Run ``model`` without ``attention_mask``. Its rows must be padded on the right, and its attention causal.

    The padding follows the tokens of a row, so causal attention never reads it, and the loss ignores its outputs. With
    a mask, SDPA would use neither the flash kernel nor grouped keys and values, and would build a mask of rows x length
    squared. A mask for rows without padding is also dropped.

    Source: ``use_gqa_in_sdpa`` and ``sdpa_attention_forward`` of transformers 5.19.0, and torch's
    ``scaled_dot_product_attention``, whose flash kernel accepts no mask.
    """

    def without_mask(_: Any, positional: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return positional, {name: value for name, value in named.items() if name != "attention_mask"}

    model.register_forward_pre_hook(without_mask, with_kwargs=True)


def is_causal(model: Any) -> bool:
    """Return whether each token of a model reads only itself and the tokens before it.

    Only for a class of transformers, whose attention modules all have ``is_causal``: it is what transformers passes to
    SDPA when there is no mask. False if it is not known, for an encoder and for a class of custom code.
    """
    if not type(model).__module__.startswith("transformers."):
        return False
    found = [module.is_causal for module in model.modules() if hasattr(module, "is_causal")]
    return bool(found) and all(found)
