"""What the stages that train the target, and the one that chooses a checkpoint, are asked."""

from fusionrun.api.parameters import DpoParameters, PromoteParameters, SftParameters
from fusionrun.api.training import Sft
from fusionrun.plan.layout import Layout


def _training(layout: Layout, numbers: Sft) -> dict[str, object]:
    training = layout.spec.training
    return {
        "epochs": numbers.epochs,
        "learning_rate": numbers.learning_rate,
        "global_batch_size": numbers.global_batch_size,
        "micro_batch_size": numbers.micro_batch_size,
        "max_length": numbers.max_length,
        "warmup_ratio": numbers.warmup_ratio,
        "save_steps": numbers.save_steps,
        "zero_stage": training.zero_stage,
        "precision": training.precision,
        "gradient_checkpointing": training.gradient_checkpointing,
        "seed": training.seed,
    }


def sft(layout: Layout) -> SftParameters:
    """Ask for the supervised fine-tuning of the target on the chosen responses."""
    return SftParameters.model_validate(
        {
            "model_path": layout.target(),
            "data_path": layout.artifact("construct", "sft.parquet"),
            **_training(layout, layout.spec.training.sft),
        }
    )


def dpo(layout: Layout) -> DpoParameters:
    """Ask for DPO of the SFT model on the pairs."""
    numbers = layout.spec.training.dpo
    return DpoParameters.model_validate(
        {
            "model_path": layout.artifact("sft", "model"),
            "data_path": layout.artifact("construct", "pairs.parquet"),
            "beta": numbers.beta,
            "length_normalized": numbers.length_normalized,
            **_training(layout, numbers),
        }
    )


def promote(layout: Layout) -> PromoteParameters:
    """Ask for the better of DPO's last two checkpoints by the held-out pairs."""
    numbers = layout.spec.training.dpo
    return PromoteParameters.model_validate(
        {
            "dpo_dir": layout.artifact("dpo"),
            "reference_model_path": layout.artifact("sft", "model"),
            "held_out_path": layout.artifact("construct", "held-out.parquet"),
            "save_steps": numbers.save_steps,
            "beta": numbers.beta,
            "length_normalized": numbers.length_normalized,
            "max_length": numbers.max_length,
        }
    )
