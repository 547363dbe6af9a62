"""sft: supervised fine-tuning of the target model on the sources' best responses, with TRL and DeepSpeed.

Run: ``FUSIONRUN_TASK=task.json torchrun --standalone --nproc-per-node=2 -m fusionrun_stages sft``
(one process: ``python -m fusionrun_stages sft``)

The loss is on the last assistant turn only, including its end-of-turn token. Weights and optimizer state are fp32. The
trained model is in ``model/``. After a failure the next pod resumes from the last complete checkpoint.

Source: FuseChat-3.0 (arXiv 2503.04222): completion loss, cosine schedule, warm-up.
"""

import logging
from typing import Any

from fusionrun.api.artifacts import CHECKPOINTS
from fusionrun.api.parameters import SftParameters
from fusionrun.api.values import Trained
from fusionrun_stages.training import finish, ranks
from fusionrun_stages.training.zero import gradient_accumulation_steps
from fusionrun_stages.work import Made, Work

log = logging.getLogger("fusionrun_stages")


def run(work: Work) -> Made:
    """Train the model, or return the result of a predecessor that has finished."""
    parameters = work.parameters(SftParameters)
    finished = finish.read_finished(work.output, parameters.kind)
    if finished is not None:
        if ranks.rank() == 0:
            finish.clean_up(work.output, [])
        return finished
    accumulation_steps = gradient_accumulation_steps(parameters, ranks.world_size())
    with ranks.explain_torch_errors("sft"):
        return _train(work, parameters, accumulation_steps)


def _train(work: Work, parameters: SftParameters, accumulation_steps: int) -> Made:
    cuda = work.task.gpus > 0
    ranks.join_process_group(parameters.zero_stage, cuda=cuda)
    from trl import SFTConfig, SFTTrainer

    from fusionrun_stages.training import callbacks
    from fusionrun_stages.training.arguments import shared_arguments
    from fusionrun_stages.training.rows import load_rows, load_tokenizer
    from fusionrun_stages.training.tokens import RowCheck, Tokens, drop_long, drop_rows
    from fusionrun_stages.training.trial import run_trial

    tokenizer = load_tokenizer(parameters.model_path)
    check = RowCheck(tokenizer)
    checkpoints = work.output / CHECKPOINTS
    config = SFTConfig(
        completion_only_loss=True, **shared_arguments(parameters, accumulation_steps, checkpoints, cuda=cuda)
    )
    resume_from, removed = finish.find_resume_point(checkpoints)
    log.info("training starts from %s; removed %s", resume_from or "the target model", removed or "nothing")

    with config.main_process_first(local=False):
        rows = load_rows(parameters.data_path, ["messages"], work.output)
        rows = rows.map(_prompt_and_completion, remove_columns=["messages"])
    trainer = SFTTrainer(
        model=parameters.model_path,
        args=config,
        train_dataset=rows,
        processing_class=tokenizer,
        callbacks=[callbacks.ProgressCallback(work.report), callbacks.MarkComplete()],
    )
    problems = []
    for row in trainer.train_dataset.select_columns(["prompt", "completion", "input_ids", "labels"]):
        start = sum(label == -100 for label in row["labels"])  # noqa: PLR2004 - ignored by the loss
        tokens = Tokens(row["input_ids"][:start], row["input_ids"][start:])
        problems.append(check.problem(row["prompt"] + row["completion"], tokens))
    tokenized, unusable = drop_rows(trainer.train_dataset, problems, "sft")
    finish.stop_at_every_end_of_turn(trainer.model, tokenizer, check.end_of_turn)

    lengths = [len(ids) for ids in tokenized["input_ids"]]
    trainer.train_dataset, dropped = drop_long(tokenized, lengths, parameters.max_length, "sft")
    if parameters.trial_steps:
        return Made(values=Trained(kind=parameters.kind), details={"trial": run_trial(trainer)})
    trainer.train(resume_from_checkpoint=resume_from)

    tokens_per_epoch = sum(length for length in lengths if length <= parameters.max_length)
    trained = Trained(
        kind=parameters.kind,
        rows=len(trainer.train_dataset),
        dropped_long=dropped,
        tokens=round(parameters.epochs * tokens_per_epoch),
    )
    details = {"resumed_from": resume_from, "unusable_rows": unusable}
    return finish.finish(trainer, work.output, details, trained, None)


def _prompt_and_completion(row: dict[str, Any]) -> dict[str, Any]:
    return {"prompt": row["messages"][:-1], "completion": row["messages"][-1:]}
