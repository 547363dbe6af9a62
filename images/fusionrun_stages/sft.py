"""Supervised fine-tuning of the target model on the sources' best answers: TRL under DeepSpeed, on every rank.

The loss is on the assistant's last turn alone, with its end-of-turn token. Weights and optimizer are fp32; the
model that comes out is in ``model/``. A pod that comes after a failure goes on from the last whole checkpoint.

Source: FuseChat-3.0 (arXiv 2503.04222): completion loss, cosine schedule, warm-up.
"""

import logging
from typing import Any

from fusionrun.api.artifacts import CHECKPOINTS
from fusionrun.api.parameters import SftParameters
from fusionrun.api.values import Trained
from fusionrun_stages.training import outcome, ranks
from fusionrun_stages.training.zero import accumulation_steps
from fusionrun_stages.work import Made, Work

log = logging.getLogger("fusionrun_stages")


def run(work: Work) -> Made:
    """Train, or go on training, or tell what was trained."""
    parameters = work.task.parameters
    assert isinstance(parameters, SftParameters)
    finished = outcome.read_finished(work.output, parameters.kind)
    if finished is not None:
        if ranks.rank() == 0:
            outcome.clean_up(work.output, [])
        return finished
    accumulation = accumulation_steps(parameters, ranks.world_size())
    with ranks.explained("sft"):
        return _train(work, parameters, accumulation)


def _train(work: Work, parameters: SftParameters, accumulation: int) -> Made:
    cuda = work.task.gpus > 0
    ranks.join(parameters.zero_stage, cuda=cuda)
    from trl import SFTConfig, SFTTrainer

    from fusionrun_stages.training import callback
    from fusionrun_stages.training.arguments import common_arguments
    from fusionrun_stages.training.rows import load_rows, load_tokenizer
    from fusionrun_stages.training.tokens import CHECKED_ROWS, Tokens, check_tokens, drop_long

    tokenizer = load_tokenizer(parameters.model_path)
    checkpoints = work.output / CHECKPOINTS
    config = SFTConfig(completion_only_loss=True, **common_arguments(parameters, accumulation, checkpoints, cuda=cuda))
    resume_from, removed = outcome.find_resume_point(checkpoints)
    log.info("training goes on from %s; removed %s", resume_from or "the target model", removed or "nothing")

    with config.main_process_first(local=False):
        rows = load_rows(parameters.data_path, ["messages"], work.output)
        rows = rows.map(_prompt_and_completion, remove_columns=["messages"])
    trainer = SFTTrainer(
        model=parameters.model_path,
        args=config,
        train_dataset=rows,
        processing_class=tokenizer,
        callbacks=[callback.Progress(work.report), callback.MarkWhole()],
    )
    tokenized = trainer.train_dataset
    for index in range(min(CHECKED_ROWS, len(rows))):
        row = tokenized[index]
        start = sum(label == -100 for label in row["labels"])  # noqa: PLR2004 - what the loss ignores
        tokens = Tokens(row["input_ids"][:start], row["input_ids"][start:])
        end_of_turn = check_tokens(tokenizer, rows[index]["prompt"] + rows[index]["completion"], tokens)
    outcome.stop_at_every_end_of_turn(trainer.model, tokenizer, end_of_turn)

    lengths = [len(ids) for ids in tokenized["input_ids"]]
    trainer.train_dataset, dropped = drop_long(tokenized, lengths, parameters.max_length, "sft")
    trainer.train(resume_from_checkpoint=resume_from)

    tokens_an_epoch = sum(length for length in lengths if length <= parameters.max_length)
    trained = Trained(
        kind=parameters.kind,
        rows=len(trainer.train_dataset),
        dropped_long=dropped,
        tokens=round(parameters.epochs * tokens_an_epoch),
    )
    return outcome.finish(trainer, work.output, {"resumed_from": resume_from}, trained, None)


def _prompt_and_completion(row: dict[str, Any]) -> dict[str, Any]:
    return {"prompt": row["messages"][:-1], "completion": row["messages"][-1:]}
