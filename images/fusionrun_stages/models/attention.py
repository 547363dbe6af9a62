"""The attention implementation that a model needs."""

from pathlib import Path

SOFT_CAP = "attn_logit_softcapping"
"""Field of a configuration: the limit of the attention logits (Gemma 2)."""

FLASH = "flash_attention_2"
"""transformers' name of the kernels of the package flash-attn."""


def attention_of(model_path: str | Path, *, trust_remote_code: bool = False) -> dict[str, str]:
    """Return the keyword arguments of ``from_pretrained`` for a model's attention.

    ``eager`` for a model with soft-capping; empty for any other model, so that transformers chooses.

    The default, ``sdpa``, silently ignores ``softcap``; vLLM, which serves the model, applies it. Eager and
    FlashAttention apply it, too.
    Source: transformers 5.19.0, ``integrations/sdpa_attention.py`` and ``models/gemma2/modeling_gemma2.py``.
    """
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(model_path, trust_remote_code=trust_remote_code)
    return {"attn_implementation": "eager"} if getattr(config.get_text_config(), SOFT_CAP, None) else {}


def training_attention(model_path: str | Path, precision: str, *, flash: bool) -> dict[str, str]:
    """Return the keyword arguments of ``from_pretrained`` for the attention of a model that is trained.

    FlashAttention where it is installed (``flash``): it applies soft-capping, needs no mask for rows of different
    lengths, and supports bf16 only. Otherwise ``attention_of``.
    """
    return {"attn_implementation": FLASH} if flash and precision == "bf16" else attention_of(model_path)


def has_flash_attention() -> bool:
    """Return whether the package flash-attn is installed and a CUDA device is visible.

    The kernels of the package ``kernels`` are not used: it downloads them from the hub, and the pods are offline.
    """
    from transformers.utils import is_flash_attn_2_available

    return bool(is_flash_attn_2_available())
