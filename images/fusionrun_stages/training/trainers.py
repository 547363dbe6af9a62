"""The trainers of SFT and DPO: TRL's, with the options of this project.

The configuration is made first, because on GPUs it starts the process group; then the rows, then the trainer.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fusionrun.api.tasks.training import DpoParameters, SftParameters, TrainParameters
from fusionrun_stages.models.attention import FLASH
from fusionrun_stages.models.padding import drop_padding_mask
from fusionrun_stages.pod.cgroup import count_cpus
from fusionrun_stages.training.adapters import adapters
from fusionrun_stages.training.arguments import shared_arguments
from fusionrun_stages.training.ranks import of_rank_0, world_size
from fusionrun_stages.training.summary import describe
from fusionrun_stages.training.zero import gradient_accumulation_steps

log = logging.getLogger("fusionrun_stages")

PARALLEL_ROWS = 20_000
"""Rows from which several processes tokenize: below, their start takes longer than the work."""
MOST_PROCESSES = 16


def sft_config(parameters: SftParameters, output_dir: Path, *, cuda: bool, **changed: Any) -> Any:
    """Return the ``SFTConfig``; ``changed`` replaces arguments, such as ``max_steps`` and ``save_strategy``.

    Raise UserError if globalBatchSize is not a multiple of the rows at once.
    """
    steps = gradient_accumulation_steps(parameters, world_size())
    from trl import SFTConfig

    arguments = shared_arguments(parameters, steps, output_dir, cuda=cuda)
    # Only FlashAttention separates the rows of a flattened micro-batch without a mask of its length squared.
    flat = arguments["model_init_kwargs"].get("attn_implementation") == FLASH
    return SFTConfig(**{"completion_only_loss": True, "padding_free": flat, **arguments, **changed})


def sft_trainer(parameters: SftParameters, config: Any, rows: Any, tokenizer: Any, callbacks: Sequence[Any]) -> Any:
    """Return TRL's trainer of ``parameters.model_path``, with tokenized rows as ``train_dataset``.

    ``rows`` is a ``datasets.Dataset`` with ``prompt``, ``completion`` and ``chat_template_kwargs``, or, tokenized, with
    ``input_ids`` and ``labels``.
    """
    from trl import SFTTrainer

    from fusionrun_stages.training.order import SortsSteps

    class Sft(SortsSteps, SFTTrainer):  # type: ignore[misc]
        pass

    return _trainer(Sft, parameters, config, rows, tokenizer, callbacks)


def dpo_config(parameters: DpoParameters, output_dir: Path, *, cuda: bool, **changed: Any) -> Any:
    """Return the ``DPOConfig``; see ``sft_config``."""
    steps = gradient_accumulation_steps(parameters, world_size())
    from trl import DPOConfig

    loss = {"loss_type": ["sigmoid_norm" if parameters.length_normalized else "sigmoid"], "beta": parameters.beta}
    return DPOConfig(**{**loss, **shared_arguments(parameters, steps, output_dir, cuda=cuda), **changed})


def dpo_trainer(parameters: DpoParameters, config: Any, pairs: Any, tokenizer: Any, callbacks: Sequence[Any]) -> Any:
    """Return TRL's trainer of ``parameters.model_path``, which is also the reference model.

    ``pairs`` is a ``datasets.Dataset`` with ``prompt``, ``chosen``, ``rejected`` and ``chat_template_kwargs``.
    """
    from fusionrun_stages.training.objective import ObjectiveDPOTrainer
    from fusionrun_stages.training.order import SortsSteps

    class Dpo(SortsSteps, ObjectiveDPOTrainer):
        pass

    return _trainer(Dpo, parameters, config, pairs, tokenizer, callbacks)


def _trainer(
    kind: Any, parameters: TrainParameters, config: Any, rows: Any, tokenizer: Any, callbacks: Sequence[Any]
) -> Any:
    if len(rows) >= PARALLEL_ROWS:
        # Rank 0 tokenizes while the others wait, then all read its files, whose names have the number of processes.
        config.dataset_num_proc = of_rank_0(lambda: min(count_cpus(), MOST_PROCESSES))
    trainer = kind(
        model=parameters.model_path,
        args=config,
        train_dataset=rows,
        processing_class=tokenizer,
        peft_config=adapters(parameters.lora),
        callbacks=list(callbacks),
    )
    drop_padding_mask(trainer.model)
    if getattr(trainer, "ref_model", None) is not None:
        drop_padding_mask(trainer.ref_model)
    log.info("%s", describe(trainer, parameters))
    return trainer
