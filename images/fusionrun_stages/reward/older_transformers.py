"""Names that a model's own code imports from transformers 4 and that 5 no longer has.

Such code (ArmoRM's, the recipe's default reward model) is pinned by its commit and is not ours to edit; an image with
an older transformers would need older hub and tokenizer libraries, too. What is missing is a text for documentation:
given as an empty one it changes nothing that is computed.
"""

import importlib

MISSING = {"transformers.models.llama.modeling_llama": {"LLAMA_INPUTS_DOCSTRING": ""}}
"""Value by name and module.

Source: the imports of RLHFlow/ArmoRM-Llama3-8B-v0.1's modeling_custom.py, which decorates its forward method with it.
"""


def provide() -> None:
    """Add the names where they are missing: call it before a model's own code is imported."""
    for module_name, values in MISSING.items():
        module = importlib.import_module(module_name)
        for name, value in values.items():
            if not hasattr(module, name):
                setattr(module, name, value)
