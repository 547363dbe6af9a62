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
from fusionrun.api.results.values import Trained
from fusionrun.api.tasks.training import SftParameters
from fusionrun_stages.training import disk, finish, ranks
from fusionrun_stages.training.trackers import Trackers, open_trackers
from fusionrun_stages.training.zero import gradient_accumulation_steps
from fusionrun_stages.work import Made, Work

log = logging.getLogger("fusionrun_stages")


def run(work: Work) -> Made:
    """Train the model, or return the result of a predecessor that has finished."""
    parameters = work.parameters(SftParameters)
    finished = finish.read_finished(work.output, parameters.kind)
    if finished is not None:
        if ranks.rank() == 0:
            finish.clean_up(work.output, [], parameters.model_path)
        return finished
    gradient_accumulation_steps(parameters, ranks.world_size())  # raises before torch is imported
    with ranks.explain_torch_errors("sft"), open_trackers(work, parameters) as trackers:
        return _train(work, parameters, trackers)


def _train(work: Work, parameters: SftParameters, trackers: Trackers) -> Made:
    cuda = work.task.gpus > 0
    ranks.join_process_group(parameters.zero_stage, cuda=cuda)
    from fusionrun_stages.training import callbacks, trainers
    from fusionrun_stages.training.rows import load_rows, load_tokenizer
    from fusionrun_stages.training.tokens import RowCheck, Tokens, drop_long, drop_rows
    from fusionrun_stages.training.trial import run_trial

    tokenizer = load_tokenizer(parameters.model_path, parameters.chat_template)
    check = RowCheck(tokenizer)
    checkpoints = work.output / CHECKPOINTS
    config = trainers.sft_config(parameters, checkpoints, cuda=cuda)
    resume_from, removed = finish.find_resume_point(checkpoints)
    disk.require_space(parameters, work.output)
    log.info("training starts from %s; removed %s", resume_from or "the target model", removed or "nothing")

    with config.main_process_first(local=False):
        rows = load_rows(parameters.data_path, ["messages"], work.output)
        rows = rows.map(_prompt_and_completion, remove_columns=["messages"])
    progress = callbacks.ProgressCallback(work.report, trackers, with_reference=False)
    hooks = [progress, callbacks.MarkComplete()]
    trainer = trainers.sft_trainer(parameters, config, rows, tokenizer, hooks)
    problems = []
    for row in trainer.train_dataset.select_columns(["prompt", "completion", "input_ids", "labels"]):
        start = sum(label == -100 for label in row["labels"])  # noqa: PLR2004 - ignored by the loss
        tokens = Tokens(row["input_ids"][:start], row["input_ids"][start:])
        problems.append(check.problem(row["prompt"] + row["completion"], tokens))
    tokenized, unusable = drop_rows(trainer.train_dataset, problems, "sft")
    finish.stop_at_every_end_of_turn(trainer.model, tokenizer, check.end_of_turn)

    lengths = [len(ids) for ids in tokenized["input_ids"]]
    trainer.train_dataset, dropped = drop_long(tokenized, lengths, parameters.max_length, "sft")
    trainer.row_lengths = [length for length in lengths if length <= parameters.max_length]
    if parameters.trial_steps:
        return Made(values=Trained(kind=parameters.kind), details={"trial": run_trial(trainer)})
    trainer.train(resume_from_checkpoint=resume_from)

    trained = Trained(
        kind=parameters.kind,
        rows=len(trainer.train_dataset),
        dropped_long=dropped,
        tokens=round(parameters.epochs * sum(trainer.row_lengths)),
    )
    details = {"resumed_from": resume_from, "unusable_rows": unusable}
    return finish.finish(trainer, work.output, details, trained, parameters.model_path, None)


def _prompt_and_completion(row: dict[str, Any]) -> dict[str, Any]:
    return {"prompt": row["messages"][:-1], "completion": row["messages"][-1:]}
