"""The numbers of a decoder from its ``config.json``. An architecture that is not in ``KNOWN`` is unknown."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_LLAMA_LIKE = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "granite", "olmo2", "phi3", "smollm3")
_MIXTURES = ("mixtral", "qwen2_moe", "qwen3_moe")
_LATENT = ("deepseek_v2", "deepseek_v3")
KNOWN = frozenset((*_LLAMA_LIKE, *_MIXTURES, *_LATENT))
"""Values of ``model_type`` whose fields have the meanings below. Source: transformers 5.19, ``configuration_*.py``."""
DTYPE_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "float8_e4m3fn": 1}


@dataclass(frozen=True)
class Architecture:
    """The shape of a decoder. Lengths and widths are numbers of elements."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    max_length: int
    """Longest sequence, in tokens."""
    ties_embeddings: bool = False
    dense: bool = True
    """Whether every token passes every weight; not so in a mixture of experts."""
    latent: int = 0
    """Numbers of the KV cache per token and layer with multi-head latent attention, else 0."""
    window: int | None = None
    """Tokens that ``window_layers`` attend to."""
    window_layers: int = 0
    eager_attention: bool = False
    """Whether the trainer computes attention without a fused kernel (soft-capped scores of Gemma 2)."""

    @property
    def parameters(self) -> int | None:
        """Number of parameters; None for a mixture of experts and for latent attention.

        Per layer: query and output (hidden x heads x head_dim), key and value (hidden x kv_heads x head_dim), and three
        matrices of a gated MLP (hidden x intermediate). Norms and biases, less than 0.1 %, are left out.
        """
        if not self.dense or self.latent:
            return None
        attention = 2 * self.hidden * self.head_dim * (self.heads + self.kv_heads)
        layer = attention + 3 * self.hidden * self.intermediate
        return self.layers * layer + self.vocabulary * self.hidden * (1 if self.ties_embeddings else 2)

    def cached_tokens(self, length: int) -> int:
        """Return the sum over the layers of the tokens in the KV cache of a sequence of ``length`` tokens."""
        in_window = min(length, self.window or length)
        return (self.layers - self.window_layers) * length + self.window_layers * in_window


def read_architecture(config: Mapping[str, Any]) -> Architecture | None:
    """Return the architecture of a ``config.json``; None if it is unknown or a field is missing or not a number."""
    kind = config.get("model_type")
    if kind not in KNOWN:
        return None
    try:
        hidden, heads, layers = (_int(config[k]) for k in ("hidden_size", "num_attention_heads", "num_hidden_layers"))
        latent = _int(config["kv_lora_rank"]) + _int(config["qk_rope_head_dim"]) if kind in _LATENT else 0
        gemma = kind == "gemma2"
        return Architecture(
            layers=layers,
            hidden=hidden,
            intermediate=_int(config["intermediate_size"]),
            heads=heads,
            kv_heads=_int(config.get("num_key_value_heads") or heads),
            head_dim=_int(config.get("head_dim") or hidden // heads),
            vocabulary=_int(config["vocab_size"]),
            max_length=_int(config["max_position_embeddings"]),
            ties_embeddings=bool(config.get("tie_word_embeddings", kind in ("gemma", "gemma2"))),
            dense=kind in _LLAMA_LIKE,
            latent=latent,
            # Every second layer of Gemma 2 has a window (arXiv 2408.00118, section 2).
            window=_int(config["sliding_window"]) if gemma and config.get("sliding_window") else None,
            window_layers=layers // 2 if gemma and config.get("sliding_window") else 0,
            eager_attention=config.get("attn_logit_softcapping") is not None,
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None


def _int(value: Any) -> int:
    if not isinstance(value, int) or not 0 < value < 2**40:
        raise ValueError(value)
    return value


def stored_bytes(config: Mapping[str, Any]) -> int | None:
    """Return the bytes of a parameter in the weight files; None if the weights are quantised or it is not known."""
    if config.get("quantization_config"):
        return None
    return DTYPE_BYTES.get(str(config.get("dtype") or config.get("torch_dtype")).removeprefix("torch."))


def parameters_of(config: Mapping[str, Any], weights_bytes: int) -> int | None:
    """Return the number of parameters: from the shape of a known decoder, else from the size of its weights."""
    architecture = read_architecture(config)
    if architecture and architecture.parameters:
        return architecture.parameters
    each = stored_bytes(config)
    return weights_bytes // each if each and weights_bytes else None
