"""Choose the better of the last two DPO checkpoints by held-out pairs; it becomes the run's model.

One process, no trainer: the log-probabilities of both sides under each candidate and under the reference (the SFT
model), and from them the loss that training minimised, and how often the chosen side wins. Never a benchmark.

Source: FuseChat-3.0 (arXiv 2503.04222): the better of the last two checkpoints is kept; by what it is better is ours.
"""

import logging
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from fusionrun.api.artifacts import CHECKPOINTS, MODEL
from fusionrun.api.parameters import PromoteParameters
from fusionrun.api.stage import StageKind
from fusionrun.api.values import Promoted, Trained
from fusionrun_stages.errors import InfrastructureError, UserError
from fusionrun_stages.models.attention import attention_of
from fusionrun_stages.training.checkpoints import candidates, model_files, settle
from fusionrun_stages.training.tokens import Tokens, split_conversation
from fusionrun_stages.volume.manifest import read_manifest
from fusionrun_stages.volume.paths import inside_volume
from fusionrun_stages.work import Made, Work

log = logging.getLogger("fusionrun_stages")

PADDED_TOKENS_AT_ONCE = 4096
"""Size of a batch: the logits, this many times the vocabulary in fp32, are the largest thing in memory."""


class HeldOutPair(NamedTuple):
    """Both sides of a pair that training has not seen."""

    chosen: Tokens
    rejected: Tokens


class Standing(NamedTuple):
    """How a candidate does on the held-out pairs."""

    accuracy: float
    """Share of the pairs whose chosen side gains more over the reference than the rejected one."""
    loss: float


def run(work: Work) -> Made:
    """Measure the candidates, choose, and link the chosen model's files into this artifact."""
    parameters = work.task.parameters
    assert isinstance(parameters, PromoteParameters)
    dpo = inside_volume(parameters.dpo_dir)
    named = candidates(dpo / CHECKPOINTS, parameters.save_steps)
    pairs, dropped = _read_pairs(parameters)
    details: dict[str, Any] = {"held_out_pairs": len(pairs), "dropped_long": dropped}
    if len(named) < 2:  # noqa: PLR2004 - a choice takes two
        details["reason"] = f"{len(named)} checkpoint(s) at a multiple of saveSteps: the last step's model is taken"
        named = {_last_step(dpo): dpo / MODEL}
    elif not pairs:
        details["reason"] = "no held-out pairs: the last candidate is taken"
        named = dict([list(named.items())[-1]])

    standings = _measure(work, parameters, named, pairs) if pairs else {}
    chosen = choose(standings) if standings else next(iter(named))
    if standings:
        details["candidates"] = {str(step): standing._asdict() for step, standing in standings.items()}
    log.info("step %d becomes the run's model: %s", chosen, details)
    files = _link_model(named[chosen], work.output / MODEL)
    return Made(
        values=Promoted(
            step=chosen,
            candidates=len(named),
            held_out_pairs=len(pairs),
            held_out_accuracy=standings[chosen].accuracy if standings else None,
            held_out_loss=standings[chosen].loss if standings else None,
        ),
        files=[f"{MODEL}/{name}" for name in files],
        details=details,
    )


def choose(standings: dict[int, Standing]) -> int:
    """Return the step with the highest accuracy; of equals the lowest loss; of equals again the latest."""
    return max(standings, key=lambda step: (standings[step].accuracy, -standings[step].loss, step))


def standing_of(margins: list[float], beta: float) -> Standing:
    """Turn the pairs' margins (chosen minus rejected log-ratio, per token if so trained) into accuracy and loss."""
    import torch

    values = torch.tensor(margins, dtype=torch.float64)
    loss = -torch.nn.functional.logsigmoid(beta * values).mean()
    return Standing(accuracy=float((values > 0).double().mean()), loss=float(loss))


def log_ratio_margins(
    policy: list[tuple[float, float]],
    reference: list[tuple[float, float]],
    pairs: list[HeldOutPair],
    *,
    length_normalized: bool,
) -> list[float]:
    """Return each pair's margin from the summed log-probabilities of its sides (chosen, rejected)."""
    margins = []
    for (chosen, rejected), (chosen_0, rejected_0), pair in zip(policy, reference, pairs, strict=True):
        sizes = (len(pair.chosen.completion), len(pair.rejected.completion)) if length_normalized else (1, 1)
        margins.append((chosen - chosen_0) / sizes[0] - (rejected - rejected_0) / sizes[1])
    return margins


def _measure(
    work: Work, parameters: PromoteParameters, named: dict[int, Path], pairs: list[HeldOutPair]
) -> dict[int, Standing]:
    total = (1 + len(named)) * len(pairs)
    cuda = work.task.gpus > 0
    reference = _log_probabilities(parameters.reference_model_path, pairs, cuda=cuda)
    work.report(len(pairs), total, "pairs")
    standings = {}
    for count, (step, path) in enumerate(named.items(), start=2):
        policy = _log_probabilities(str(path), pairs, cuda=cuda)
        margins = log_ratio_margins(policy, reference, pairs, length_normalized=parameters.length_normalized)
        standings[step] = standing_of(margins, parameters.beta)
        work.report(count * len(pairs), total, "pairs", held_out_accuracy=standings[step].accuracy)
    return standings


def _log_probabilities(model_path: str, pairs: list[HeldOutPair], *, cuda: bool) -> list[tuple[float, float]]:
    """Return the summed log-probability of each pair's two completions, in nats."""
    import torch
    from transformers import AutoModelForCausalLM

    try:
        model = AutoModelForCausalLM.from_pretrained(
            model_path, dtype="auto" if cuda else "float32", **attention_of(model_path)
        )
    except OSError as error:
        raise InfrastructureError(f"{model_path}: cannot be loaded: {error}") from error
    model = model.to("cuda" if cuda else "cpu").eval()
    sides = [side for pair in pairs for side in (pair.chosen, pair.rejected)]
    sums = [0.0] * len(sides)
    for batch in _batches(sides):
        width = max(len(sides[index].prompt) + len(sides[index].completion) for index in batch)
        ids = torch.zeros(len(batch), width, dtype=torch.long)
        attention = torch.zeros_like(ids)
        labels = torch.full_like(ids, -100)
        for line, index in enumerate(batch):
            side = sides[index]
            start, stop = len(side.prompt), len(side.prompt) + len(side.completion)
            ids[line, :stop] = torch.tensor(side.prompt + side.completion)
            attention[line, :stop] = 1
            labels[line, start:stop] = ids[line, start:stop]
        ids, attention, labels = (tensor.to(model.device) for tensor in (ids, attention, labels))
        with torch.inference_mode():
            logits = model(input_ids=ids, attention_mask=attention, use_cache=False).logits[:, :-1].float()
        # The loss of a token is its negative log-probability; 0 where the label is -100.
        losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels[:, 1:], reduction="none")
        for index, value in zip(batch, (-losses.double().sum(dim=1)).tolist(), strict=True):
            sums[index] = value
    return list(zip(sums[::2], sums[1::2], strict=True))


def _batches(sides: list[Tokens]) -> list[list[int]]:
    """Group the sides, longest first, into batches of at most ``PADDED_TOKENS_AT_ONCE`` tokens with padding."""
    lengths = [len(side.prompt) + len(side.completion) for side in sides]
    order = sorted(range(len(sides)), key=lambda index: -lengths[index])
    batches: list[list[int]] = []
    for index in order:
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= PADDED_TOKENS_AT_ONCE:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def _read_pairs(parameters: PromoteParameters) -> tuple[list[HeldOutPair], int]:
    """Tokenize the held-out pairs; return those within the length that training had, and how many were above."""
    import pyarrow.parquet
    from transformers import AutoTokenizer

    path = inside_volume(parameters.held_out_path)
    if not path.is_file():
        raise UserError(f"{path}: the held-out pairs are not a file")
    rows = pyarrow.parquet.read_table(path, columns=["prompt", "chosen", "rejected"]).to_pylist()
    tokenizer = AutoTokenizer.from_pretrained(parameters.reference_model_path)
    pairs = [
        HeldOutPair(*(split_conversation(tokenizer, row["prompt"], row[side]) for side in ("chosen", "rejected")))
        for row in rows
    ]
    kept = [
        pair for pair in pairs if max(len(side.prompt) + len(side.completion) for side in pair) <= parameters.max_length
    ]
    return kept, len(pairs) - len(kept)


def _last_step(dpo: Path) -> int:
    manifest = read_manifest(dpo, StageKind.DPO)
    if manifest is None or not isinstance(manifest.values, Trained):
        raise InfrastructureError(f"{dpo}: the DPO artifact is not complete")
    return manifest.values.steps


def _link_model(source: Path, destination: Path) -> list[str]:
    """Give the chosen model's files a second name in ``destination``, or a copy where links are refused."""
    shutil.rmtree(destination, ignore_errors=True)
    destination.mkdir(parents=True)
    files = model_files(source)
    for path in files:
        try:
            os.link(path, destination / path.name, follow_symlinks=False)
        except OSError:
            shutil.copyfile(path, destination / path.name, follow_symlinks=False)
    settle(destination)
    return [path.name for path in files]
