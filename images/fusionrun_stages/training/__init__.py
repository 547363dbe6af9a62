"""Code that ``sft`` and ``dpo`` share. The package does not import torch."""
