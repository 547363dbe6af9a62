"""dpo: direct preference optimization of the SFT model on same-source pairs, with TRL and DeepSpeed.

Run: ``FUSIONRUN_TASK=task.json torchrun --standalone --nproc-per-node=2 -m fusionrun_stages dpo``
(one process: ``python -m fusionrun_stages dpo``)

The reference model is always the SFT model: the trainer is built from its path, also if it resumes from a checkpoint.
It stays in memory (sharded under ZeRO-3) and gets the same batches as the policy, so the first loss is exactly ln 2 in
any precision. Precomputed reference log-probabilities would have other padding, and differ by bf16's rounding times
beta.

Source: FuseChat-3.0 (arXiv 2503.04222), length-normalized DPO; ``sigmoid_norm`` of TRL, checked against the formula.
"""

import logging

from fusionrun.api.artifacts import CHECKPOINTS
from fusionrun.api.results.values import Trained
from fusionrun.api.tasks.training import DpoParameters
from fusionrun_stages.training import disk, finish, ranks
from fusionrun_stages.training.trackers import Trackers, open_trackers
from fusionrun_stages.training.zero import gradient_accumulation_steps
from fusionrun_stages.work import Made, Work

log = logging.getLogger("fusionrun_stages")


def run(work: Work) -> Made:
    """Train the model, or return the result of a predecessor that has finished."""
    parameters = work.parameters(DpoParameters)
    finished = finish.read_finished(work.output, parameters.kind)
    if finished is not None:
        if ranks.rank() == 0:
            finish.clean_up(work.output, finished.details["checkpoints"], parameters.model_path)
        return finished
    gradient_accumulation_steps(parameters, ranks.world_size())  # raises before torch is imported
    with ranks.explain_torch_errors("dpo"), open_trackers(work, parameters) as trackers:
        return _train(work, parameters, trackers)


def _train(work: Work, parameters: DpoParameters, trackers: Trackers) -> Made:
    cuda = work.task.gpus > 0
    ranks.join_process_group(parameters.zero_stage, cuda=cuda)
    from fusionrun_stages.training import callbacks, trainers
    from fusionrun_stages.training.rows import load_rows, load_tokenizer
    from fusionrun_stages.training.tokens import RowCheck, Tokens, drop_long, drop_rows
    from fusionrun_stages.training.trial import run_trial

    tokenizer = load_tokenizer(parameters.model_path, parameters.chat_template)
    check = RowCheck(tokenizer)
    checkpoints = work.output / CHECKPOINTS
    config = trainers.dpo_config(parameters, checkpoints, cuda=cuda)
    resume_from, removed = finish.find_resume_point(checkpoints)
    disk.require_space(parameters, work.output)
    log.info("training starts from %s; removed %s", resume_from or "the SFT model", removed or "nothing")

    with config.main_process_first(local=False):
        pairs = load_rows(parameters.data_path, ["prompt", "chosen", "rejected"], work.output)
    progress = callbacks.ProgressCallback(work.report, trackers, with_reference=True)
    hooks = [progress, callbacks.FirstLossCheck(), callbacks.MarkComplete()]
    trainer = trainers.dpo_trainer(parameters, config, pairs, tokenizer, hooks)
    problems = []
    for row in trainer.train_dataset:
        of_sides = (
            check.problem(row["prompt"] + row[side], Tokens(row["prompt_ids"], row[f"{side}_ids"]))
            for side in ("chosen", "rejected")
        )
        problems.append(next((problem for problem in of_sides if problem), None))
    tokenized, unusable = drop_rows(trainer.train_dataset, problems, "dpo")
    finish.stop_at_every_end_of_turn(trainer.model, tokenizer, check.end_of_turn)

    columns = [tokenized[name] for name in ("prompt_ids", "chosen_ids", "rejected_ids")]
    sizes = [(len(prompt), len(chosen), len(rejected)) for prompt, chosen, rejected in zip(*columns, strict=True)]
    lengths = [prompt + max(chosen, rejected) for prompt, chosen, rejected in sizes]
    trainer.train_dataset, dropped = drop_long(tokenized, lengths, parameters.max_length, "dpo")
    trainer.row_lengths = [length for length in lengths if length <= parameters.max_length]
    if parameters.trial_steps:
        return Made(values=Trained(kind=parameters.kind), details={"trial": run_trial(trainer)})
    trainer.train(resume_from_checkpoint=resume_from)

    kept = [size for size, length in zip(sizes, lengths, strict=True) if length <= parameters.max_length]
    trained = Trained(
        kind=parameters.kind,
        rows=len(trainer.train_dataset),
        dropped_long=dropped,
        tokens=round(parameters.epochs * sum(2 * prompt + chosen + rejected for prompt, chosen, rejected in kept)),
    )
    details = {"resumed_from": resume_from, "unusable_rows": unusable}
    return finish.finish(trainer, work.output, details, trained, parameters.model_path, parameters.save_steps)
