"""The attention implementation that a model needs."""

from pathlib import Path

SOFT_CAP = "attn_logit_softcapping"
"""Field of a configuration: attention logits are capped at this value (Gemma 2)."""


def attention_of(model_path: str | Path, *, trust_remote_code: bool = False) -> dict[str, str]:
    """Return the keyword arguments of ``from_pretrained`` that make a model's attention right.

    Empty for most models: transformers chooses. A model with soft-capping gets ``eager``.

    Notes
    -----
    The default, ``sdpa``, ignores ``softcap`` without a word, and vLLM, which serves the model, applies it. Eager and
    FlashAttention apply it, too; the images have no FlashAttention.
    Source: transformers 5.19.0, ``integrations/sdpa_attention.py`` and ``models/gemma2/modeling_gemma2.py``.
    """
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(model_path, trust_remote_code=trust_remote_code)
    return {"attn_implementation": "eager"} if getattr(config.get_text_config(), SOFT_CAP, None) else {}
