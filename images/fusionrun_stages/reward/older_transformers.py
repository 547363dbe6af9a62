"""Names that custom model code imports from transformers 4 and that transformers 5 removed.

ArmoRM's code, for example, is pinned by its commit. An image with transformers 4 would need older hub and tokenizer
libraries, too. The missing names are documentation strings; empty ones do not change the computation.
"""

import importlib

MISSING = {"transformers.models.llama.modeling_llama": {"LLAMA_INPUTS_DOCSTRING": ""}}
"""Value by module and name.

Source: RLHFlow/ArmoRM-Llama3-8B-v0.1, modeling_custom.py, which decorates its forward method with it.
"""


def add_missing_names() -> None:
    """Add the names that are missing. Call it before custom model code is imported."""
    for module_name, values in MISSING.items():
        module = importlib.import_module(module_name)
        for name, value in values.items():
            if not hasattr(module, name):
                setattr(module, name, value)
