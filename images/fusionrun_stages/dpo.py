"""Direct preference optimisation of the SFT model on same-source pairs: TRL under DeepSpeed, on every rank.

The reference is the SFT model, always: the trainer is built from its path, also when it then goes on from a
checkpoint. The reference model is kept beside the policy (sharded like it under ZeRO-3) and sees the same batch, so
that the first loss is ln 2 to the last digit in any precision; reference log-probabilities computed beforehand would
be padded otherwise and differ by bf16's rounding, times beta.

Source: FuseChat-3.0 (arXiv 2503.04222), length-normalised DPO; ``sigmoid_norm`` of TRL, checked against the formula.
"""

import logging

from fusionrun.api.artifacts import CHECKPOINTS
from fusionrun.api.parameters import DpoParameters
from fusionrun.api.values import Trained
from fusionrun_stages.training import outcome, ranks
from fusionrun_stages.training.zero import accumulation_steps
from fusionrun_stages.work import Made, Work

log = logging.getLogger("fusionrun_stages")


def run(work: Work) -> Made:
    """Train, or go on training, or tell what was trained."""
    parameters = work.task.parameters
    assert isinstance(parameters, DpoParameters)
    finished = outcome.read_finished(work.output, parameters.kind)
    if finished is not None:
        if ranks.rank() == 0:
            outcome.clean_up(work.output, finished.details["checkpoints"])
        return finished
    accumulation = accumulation_steps(parameters, ranks.world_size())
    with ranks.explained("dpo"):
        return _train(work, parameters, accumulation)


def _train(work: Work, parameters: DpoParameters, accumulation: int) -> Made:
    cuda = work.task.gpus > 0
    ranks.join(parameters.zero_stage, cuda=cuda)
    from trl import DPOConfig, DPOTrainer

    from fusionrun_stages.training import callback
    from fusionrun_stages.training.arguments import common_arguments
    from fusionrun_stages.training.rows import load_rows, load_tokenizer
    from fusionrun_stages.training.tokens import CHECKED_ROWS, Tokens, check_tokens, drop_long

    tokenizer = load_tokenizer(parameters.model_path)
    checkpoints = work.output / CHECKPOINTS
    config = DPOConfig(
        loss_type=["sigmoid_norm" if parameters.length_normalized else "sigmoid"],
        beta=parameters.beta,
        **common_arguments(parameters, accumulation, checkpoints, cuda=cuda),
    )
    resume_from, removed = outcome.find_resume_point(checkpoints)
    log.info("training goes on from %s; removed %s", resume_from or "the SFT model", removed or "nothing")

    with config.main_process_first(local=False):
        pairs = load_rows(parameters.data_path, ["prompt", "chosen", "rejected"], work.output)
    trainer = DPOTrainer(
        model=parameters.model_path,
        args=config,
        train_dataset=pairs,
        processing_class=tokenizer,
        callbacks=[callback.Progress(work.report), callback.FirstLoss(), callback.MarkWhole()],
    )
    tokenized = trainer.train_dataset
    for index in range(min(CHECKED_ROWS, len(pairs))):
        row = tokenized[index]
        for side in ("chosen", "rejected"):
            tokens = Tokens(row["prompt_ids"], row[f"{side}_ids"])
            end_of_turn = check_tokens(tokenizer, pairs[index]["prompt"] + pairs[index][side], tokens)
    outcome.stop_at_every_end_of_turn(trainer.model, tokenizer, end_of_turn)

    columns = [tokenized[name] for name in ("prompt_ids", "chosen_ids", "rejected_ids")]
    sizes = [(len(prompt), len(chosen), len(rejected)) for prompt, chosen, rejected in zip(*columns, strict=True)]
    lengths = [prompt + max(chosen, rejected) for prompt, chosen, rejected in sizes]
    trainer.train_dataset, dropped = drop_long(tokenized, lengths, parameters.max_length, "dpo")
    trainer.train(resume_from_checkpoint=resume_from)

    kept = [size for size, length in zip(sizes, lengths, strict=True) if length <= parameters.max_length]
    trained = Trained(
        kind=parameters.kind,
        rows=len(trainer.train_dataset),
        dropped_long=dropped,
        tokens=round(parameters.epochs * sum(2 * prompt + chosen + rejected for prompt, chosen, rejected in kept)),
    )
    return outcome.finish(trainer, work.output, {"resumed_from": resume_from}, trained, parameters.save_steps)
