"""LoRA: adapters that are trained instead of the weights, and merged into them at the end.

Every stage after a training reads whole models, so ``model/`` and the checkpoints that ``promote`` compares are merged
once, on rank 0, when the training has ended.
"""

from pathlib import Path
from typing import Any

from fusionrun.api.spec.training import Lora

_ADAPTER_FILES = "adapter_*"
_ADAPTER_CONFIG = "adapter_config.json"
"""Source: peft, ``CONFIG_NAME``."""


def adapters(lora: Lora | None) -> Any:
    """Return the ``LoraConfig`` of peft; None without LoRA.

    The defaults are those of QLoRA (arXiv 2305.14314): adapters on all linear layers, except the output layer. Alpha is
    twice the rank.
    """
    if lora is None:
        return None
    from peft import LoraConfig

    return LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=2 * lora.rank if lora.alpha is None else lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.target_modules or "all-linear",
    )


def merge(base: str, folder: Path, generation: Path) -> None:
    """Replace the adapter in ``folder`` by the whole model: the weights of ``base`` plus the adapter's update.

    The ``generation_config`` is that of the folder ``generation``. The sum is computed in fp32 on the CPU, which takes
    the memory of the weights in fp32, and is stored in the dtype of ``base``. Nothing is done without an adapter. The
    successor of a killed pod may repeat it.
    """
    if not list(folder.glob(_ADAPTER_FILES)):
        return
    config = folder / _ADAPTER_CONFIG
    if config.exists():
        _merge(base, folder, generation)
        config.unlink()  # the first: without it, the folder has merged weights and no complete adapter
    for path in (*folder.glob(_ADAPTER_FILES), folder / "README.md"):
        path.unlink(missing_ok=True)


def _merge(base: str, folder: Path, generation: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    # With ZeRO-3, from_pretrained would otherwise shard the model, which all ranks must do together.
    unset_hf_deepspeed_config()
    stored = AutoConfig.from_pretrained(base).dtype or torch.float32
    model = AutoModelForCausalLM.from_pretrained(base, dtype="float32")
    merged = PeftModel.from_pretrained(model, str(folder)).merge_and_unload().to(stored)
    merged.config.pad_token_id = AutoTokenizer.from_pretrained(folder).pad_token_id
    merged.generation_config = GenerationConfig.from_pretrained(generation)
    merged.save_pretrained(str(folder))
