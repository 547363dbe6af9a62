"""SFT and DPO with nothing but TRL: what the trainers of the stages are compared with."""

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer


def make_trainer(kind: str, model: Path, rows: Any, folder: Path, *, cuda: bool = False, **numbers: Any) -> Any:
    """Return TRL's trainer with the recipe's schedule and loss and TRL's defaults; ``numbers`` are its arguments."""
    arguments = {
        "output_dir": str(folder),
        "use_cpu": not cuda,
        "bf16": cuda,
        "gradient_checkpointing": False,
        "max_length": None,
        "model_init_kwargs": {"dtype": "float32"},
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.1,
        "seed": 42,
        "data_seed": 42,
        "logging_steps": 1,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        **numbers,
    }
    more = {"train_dataset": rows, "processing_class": AutoTokenizer.from_pretrained(model)}
    if kind == "sft":
        return SFTTrainer(str(model), SFTConfig(completion_only_loss=True, **arguments), **more)
    return DPOTrainer(str(model), args=DPOConfig(loss_type=["sigmoid_norm"], beta=10.0, **arguments), **more)


def losses(trainer: Any) -> list[float]:
    """Return the logged losses of a trainer that has trained."""
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
