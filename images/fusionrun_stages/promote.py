"""promote: select the better of the last two DPO checkpoints on held-out pairs as the run's model.

Run: ``FUSIONRUN_TASK=task.json python -m fusionrun_stages promote``

One process without a trainer computes the log-probabilities of chosen and rejected under each candidate and under the
reference model (the SFT model), and from them the DPO loss and the accuracy: the share of pairs in which chosen wins.
The candidate with the lower loss is selected if the losses of the same pairs differ beyond their noise, and the later
one otherwise. Benchmarks are not used.

Source: FuseChat-3.0 (arXiv 2503.04222) keeps the better of the last two checkpoints; the criterion is this project's.
"""

import logging
import math
import os
import shutil
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from fusionrun.api.artifacts import CHECKPOINTS, MODEL
from fusionrun.api.results.values import Promoted, Trained
from fusionrun.api.stage import StageKind
from fusionrun.api.tasks.training import PromoteParameters
from fusionrun_stages.errors import InfrastructureError, UserError
from fusionrun_stages.models.attention import attention_of
from fusionrun_stages.training.checkpoints import candidates, model_files, settle
from fusionrun_stages.training.tokens import RowCheck, Tokens, split_conversation
from fusionrun_stages.volume.manifest import read_input
from fusionrun_stages.volume.paths import inside_volume
from fusionrun_stages.work import Made, Work

log = logging.getLogger("fusionrun_stages")

PADDED_TOKENS_AT_ONCE = 4096
"""Tokens per batch, padding included: the logits (tokens x vocabulary, float32) use the most memory."""


QUANTILE = 1.96
"""Standard errors of half a 95 % interval. Source: quantile 0.975 of the standard normal distribution."""


class HeldOutPair(NamedTuple):
    """A pair that is held out of training."""

    chosen: Tokens
    rejected: Tokens


class HeldOutResult(NamedTuple):
    """Result of a candidate on the held-out pairs."""

    accuracy: float
    """Share of the pairs with a higher log-ratio to the reference model for chosen than for rejected."""
    loss: float
    """Mean of the DPO loss."""
    losses: list[float]
    """DPO loss of each pair."""


class Comparison(NamedTuple):
    """The losses of two candidates on the same pairs."""

    difference: float
    """Mean of the differences per pair: later less earlier candidate."""
    standard_error: float | None
    """Standard error of the mean; None with fewer than two pairs."""

    @property
    def is_clear(self) -> bool:
        """Whether the 95 % interval of the difference, by the normal distribution, excludes 0."""
        return self.standard_error is not None and abs(self.difference) > QUANTILE * self.standard_error


def run(work: Work) -> Made:
    """Evaluate the candidates, select one, and link its files into this artifact."""
    parameters = work.parameters(PromoteParameters)
    dpo = inside_volume(parameters.dpo_dir)
    paths = candidates(dpo / CHECKPOINTS, parameters.save_steps)
    pairs, dropped, unusable = _read_pairs(parameters)
    details: dict[str, Any] = {"held_out_pairs": len(pairs), "dropped_long": dropped, "unusable_pairs": unusable}
    if len(paths) < 2:  # noqa: PLR2004 - the last two
        details["reason"] = f"{len(paths)} checkpoint(s) at a multiple of saveSteps: the model of the last step is used"
        paths = {_last_step(dpo): dpo / MODEL}
    elif not pairs:
        details["reason"] = "no held-out pairs: the last candidate is used"
        paths = dict([list(paths.items())[-1]])

    results = _evaluate(work, parameters, paths, pairs) if pairs else {}
    compared = compare(*(result.losses for result in results.values())) if len(results) == 2 else None  # noqa: PLR2004
    chosen = select(results, compared) if results else next(iter(paths))
    if results:
        details["candidates"] = {
            str(step): {"accuracy": result.accuracy, "loss": result.loss} for step, result in results.items()
        }
    if compared:
        details["loss_difference"] = compared._asdict()
    log.info("step %d is the run's model: %s", chosen, details)
    files = _link_model(paths[chosen], work.output / MODEL)
    return Made(
        values=Promoted(
            step=chosen,
            candidates=len(paths),
            held_out_pairs=len(pairs),
            held_out_accuracy=results[chosen].accuracy if results else None,
            held_out_loss=results[chosen].loss if results else None,
            held_out_loss_difference=compared.difference if compared else None,
            held_out_loss_standard_error=compared.standard_error if compared else None,
        ),
        files=[f"{MODEL}/{name}" for name in files],
        details=details,
    )


def compare(earlier: list[float], later: list[float]) -> Comparison:
    """Compare the losses of two candidates on B pairs. Paired losses have most of their variance in common."""
    differences = [b - a for a, b in zip(earlier, later, strict=True)]
    mean = fmean(differences)
    error = stdev(differences) / math.sqrt(len(differences)) if len(differences) > 1 else None
    return Comparison(mean, error)


def select(results: dict[int, HeldOutResult], compared: Comparison | None) -> int:
    """Return the step with the lower loss if the difference is clear, else the later step.

    The accuracy does not decide: with 1,500 pairs its standard error is more than a point, and both candidates are at
    the end of the same cosine schedule.
    """
    if compared and compared.is_clear:
        return min(results, key=lambda step: results[step].loss)
    return max(results)


def evaluate_margins(margins: list[float], beta: float) -> HeldOutResult:
    """Return accuracy and DPO losses for the margins of B pairs: log-ratio of chosen minus log-ratio of rejected."""
    import torch

    values = torch.tensor(margins, dtype=torch.float64)
    losses = -torch.nn.functional.logsigmoid(beta * values)
    accuracy = float((values > 0).double().mean())
    return HeldOutResult(accuracy, loss=float(losses.mean()), losses=losses.tolist())


def log_ratio_margins(
    policy: list[tuple[float, float]],
    reference: list[tuple[float, float]],
    pairs: list[HeldOutPair],
    *,
    length_normalized: bool,
) -> list[float]:
    """Return the margin of each pair from the summed log-probabilities of (chosen, rejected).

    With ``length_normalized`` each log-ratio is divided by the number of completion tokens, as in training.
    """
    margins = []
    for (chosen, rejected), (chosen_0, rejected_0), pair in zip(policy, reference, pairs, strict=True):
        sizes = (len(pair.chosen.completion), len(pair.rejected.completion)) if length_normalized else (1, 1)
        margins.append((chosen - chosen_0) / sizes[0] - (rejected - rejected_0) / sizes[1])
    return margins


def _evaluate(
    work: Work, parameters: PromoteParameters, paths: dict[int, Path], pairs: list[HeldOutPair]
) -> dict[int, HeldOutResult]:
    total = (1 + len(paths)) * len(pairs)
    cuda = work.task.gpus > 0

    def report(before: int, responses: int) -> None:
        work.report(before + responses // 2, total, "pairs")

    reference = _log_probabilities(parameters.reference_model_path, pairs, partial(report, 0), cuda=cuda)
    results = {}
    for count, (step, path) in enumerate(paths.items(), start=2):
        policy = _log_probabilities(str(path), pairs, partial(report, (count - 1) * len(pairs)), cuda=cuda)
        margins = log_ratio_margins(policy, reference, pairs, length_normalized=parameters.length_normalized)
        results[step] = evaluate_margins(margins, parameters.beta)
        work.report(count * len(pairs), total, "pairs", held_out_accuracy=results[step].accuracy)
    return results


def _log_probabilities(
    model_path: str, pairs: list[HeldOutPair], report: Callable[[int], None], *, cuda: bool
) -> list[tuple[float, float]]:
    """Return the summed log-probabilities, in nats, of chosen and rejected of each pair.

    ``report`` is called after each batch, with the number of responses so far. The batches are (B, T): ids, attention
    mask and labels int64, logits (B, T - 1, V) float32; sums in float64.
    """
    import torch
    from transformers import AutoModelForCausalLM

    try:
        model = AutoModelForCausalLM.from_pretrained(
            model_path, dtype="auto" if cuda else "float32", **attention_of(model_path)
        )
    except OSError as error:
        raise InfrastructureError(f"{model_path}: cannot load the model: {error}") from error
    model = model.to("cuda" if cuda else "cpu").eval()
    sides = [side for pair in pairs for side in (pair.chosen, pair.rejected)]
    sums, done = [0.0] * len(sides), 0
    for batch in _batches(sides):
        width = max(len(sides[index].prompt) + len(sides[index].completion) for index in batch)
        ids = torch.zeros(len(batch), width, dtype=torch.long)
        attention = torch.zeros_like(ids)
        labels = torch.full_like(ids, -100)
        for row, index in enumerate(batch):
            side = sides[index]
            start, stop = len(side.prompt), len(side.prompt) + len(side.completion)
            ids[row, :stop] = torch.tensor(side.prompt + side.completion)
            attention[row, :stop] = 1
            labels[row, start:stop] = ids[row, start:stop]
        ids, attention, labels = (tensor.to(model.device) for tensor in (ids, attention, labels))
        with torch.inference_mode():
            logits = model(input_ids=ids, attention_mask=attention, use_cache=False).logits[:, :-1].float()
        # The loss of a token is its negative log-probability, or 0 if the label is -100.
        losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels[:, 1:], reduction="none")
        for index, value in zip(batch, (-losses.double().sum(dim=1)).tolist(), strict=True):
            sums[index] = value
        done += len(batch)
        report(done)
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


def _read_pairs(parameters: PromoteParameters) -> tuple[list[HeldOutPair], int, dict[str, int]]:
    """Tokenize the held-out pairs.

    Return those to compare, the number of those longer than ``max_length``, and the numbers of unusable ones by reason
    (``RowCheck``).
    """
    import pyarrow.parquet
    from transformers import AutoTokenizer

    path = inside_volume(parameters.held_out_path)
    if not path.is_file():
        raise UserError(f"{path}: the held-out pairs are not a file")
    rows = pyarrow.parquet.read_table(path, columns=["prompt", "chosen", "rejected"]).to_pylist()
    tokenizer = AutoTokenizer.from_pretrained(parameters.reference_model_path)
    check = RowCheck(tokenizer)
    kept, too_long, unusable = list[HeldOutPair](), 0, Counter[str]()
    for row in rows:
        sides = {side: split_conversation(tokenizer, row["prompt"], row[side]) for side in ("chosen", "rejected")}
        problems = (check.problem(row["prompt"] + row[side], tokens) for side, tokens in sides.items())
        if problem := next((problem for problem in problems if problem), None):
            unusable[problem] += 1
        elif max(len(tokens.prompt) + len(tokens.completion) for tokens in sides.values()) > parameters.max_length:
            too_long += 1
        else:
            kept.append(HeldOutPair(**sides))
    return kept, too_long, dict(unusable)


def _last_step(dpo: Path) -> int:
    _, trained = read_input(dpo, StageKind.DPO, Trained)
    return trained.steps


def _link_model(source: Path, destination: Path) -> list[str]:
    """Hard-link the model's files into ``destination``, or copy them if the volume does not support links."""
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
