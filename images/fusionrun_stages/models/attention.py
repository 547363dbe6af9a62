"""The attention implementation that a model needs."""

from pathlib import Path

SOFT_CAP = "attn_logit_softcapping"
"""Field of a configuration: the limit of the attention logits (Gemma 2)."""


def attention_of(model_path: str | Path, *, trust_remote_code: bool = False) -> dict[str, str]:
    """Return the keyword arguments of ``from_pretrained`` for a model's attention.

    ``eager`` for a model with soft-capping; empty for any other model, so that transformers chooses.

    The default, ``sdpa``, silently ignores ``softcap``; vLLM, which serves the model, applies it. Eager and
    FlashAttention apply it, too. The images do not have FlashAttention.
    Source: transformers 5.19.0, ``integrations/sdpa_attention.py`` and ``models/gemma2/modeling_gemma2.py``.
    """
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(model_path, trust_remote_code=trust_remote_code)
    return {"attn_implementation": "eager"} if getattr(config.get_text_config(), SOFT_CAP, None) else {}
