"""score: the reward model's score of every response that may be used, one shard per pod.

Batches are fixed by what is scored (sorted by length, so that little is padded) and resumed whole: a batch that was
cut short is scored again in the same company, so that the same numbers come out. Finished batches are appended to a
part file of this pod's own; those of its predecessors are read. Where an endpoint scores, a batch is one request.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fusionrun.api.artifacts import shard_name
from fusionrun.api.data import Task
from fusionrun.api.models import Calibration
from fusionrun.api.records import MICRO, Prompt, Response, Row, Score
from fusionrun.api.task import ScoreParameters
from fusionrun_stages.errors import UserError
from fusionrun_stages.reward_endpoint import RewardEndpoint
from fusionrun_stages.reward_model import RewardModel, Store, Text
from fusionrun_stages.shards import JsonLines, read_json_lines, read_rows, shard_path, write_rows
from fusionrun_stages.work import Made, Work


class Batch(Row):
    """A line of a part file: the scores of one whole batch."""

    plan: str
    """Digest of all batches: another plan's lines are passed over."""
    batch: int
    scores_micro: list[int | None]
    """None: longer than the endpoint or ``maxLength`` allows."""


class Scorer(Protocol):
    """A model that was loaded, or an endpoint."""

    @property
    def details(self) -> dict[str, object]:
        """What the manifest says of it."""

    def length(self, prompt: str, answer: str) -> int:
        """Return a conversation's tokens; of an endpoint, which alone knows them, its characters."""

    def score_all(self, batches: Iterable[tuple[int, Sequence[Text]]], store: Store) -> None:
        """Score numbered batches; hand over each as it is done."""


Key = tuple[str, str, int]
"""Prompt, source and sample."""


@dataclass
class Conversation:
    """What is scored: the responses to one prompt that say the same are scored once, and so alike to the last digit."""

    prompt: str
    answer: str
    length: int
    """As its scorer measures it."""
    responses: list[Key] = field(default_factory=list)


def run(work: Work) -> Made:
    """Check the model's scale, then write ``scores/NNNNN-of-NNNNN.parquet``, sorted by prompt, source and sample.

    Raises
    ------
    UserError
        If the model is no reward model, the endpoint refuses or answers something else, or the calibration's pairs
        show another scale or order.
    """
    parameters = work.task.parameters
    assert isinstance(parameters, ScoreParameters)
    scorer, batch_size = _scorer(parameters)
    details = scorer.details
    if parameters.calibration is not None:
        details["calibration"] = calibrate(scorer, parameters.calibration)
    shard = work.shard or 0
    conversations, unscored = gather(scorer, parameters, shard)
    batches = plan(conversations, batch_size)
    scores = []
    for batch, found in zip(batches, _score(scorer, batches, work, parameters), strict=True):
        for one, score in zip(batch, found, strict=True):
            if score is None:
                unscored["too_long"] += len(one.responses)
                continue
            scores += [
                Score(prompt_id=prompt_id, source=source, sample_index=sample_index, score_micro=score)
                for prompt_id, source, sample_index in one.responses
            ]
    scores.sort(key=lambda row: (row.prompt_id, row.source, row.sample_index))
    path = shard_path(work.output / "scores", shard, parameters.shards)
    write_rows(path, Score, scores)
    for part in _parts(work, parameters):
        part.unlink(missing_ok=True)
    return Made(
        files=[str(path.relative_to(work.output))],
        counts={"scored": len(scores), "unscored": sum(unscored.values())},
        details=details | {"unscored": dict(unscored)},
    )


def _scorer(parameters: ScoreParameters) -> tuple[Scorer, int]:
    """Return what scores, and the size of its batches."""
    if parameters.endpoint is not None:
        return RewardEndpoint(parameters.endpoint, parameters.max_length), 1
    if parameters.model_path is None:
        raise UserError("rewardModel: exactly one of model and endpoint is required")
    return RewardModel(parameters.model_path, trust_remote_code=parameters.trust_remote_code), parameters.batch_size


def calibrate(scorer: Scorer, calibration: Calibration) -> list[dict[str, float]]:
    """Check that the model prefers the better answer of every pair, and keeps to its scale.

    Returns
    -------
    list of dict
        The scores of each pair.

    Raises
    ------
    UserError
        If it does not: margins that were chosen for another scale would select the wrong pairs.
    """
    found = []
    low, high = calibration.score_range.min, calibration.score_range.max
    scores: dict[int, list[int | None]] = {}
    pairs = [[(pair.prompt, pair.better), (pair.prompt, pair.worse)] for pair in calibration.pairs]
    scorer.score_all(enumerate(pairs), scores.__setitem__)
    for number in range(len(pairs)):
        better, worse = scores[number]
        where = f"rewardModel.calibration.pairs[{number}]"
        if better is None or worse is None:
            raise UserError(f"{where}: too long to be scored")
        for name, score in (("better", better), ("worse", worse)):
            if not low <= score / MICRO <= high:
                raise UserError(f"{where}.{name}: the score {score / MICRO:.6f} is off the scale [{low}, {high}]")
        if better <= worse:
            raise UserError(
                f"{where}: the order is wrong: better scores {better / MICRO:.6f}, worse {worse / MICRO:.6f}"
            )
        found.append({"better": better / MICRO, "worse": worse / MICRO})
    return found


def gather(scorer: Scorer, parameters: ScoreParameters, shard: int) -> tuple[list[Conversation], Counter[str]]:
    """Read the conversations to score, and count those left out by reason.

    Left out are responses that are never used (failed, blank or cut ones), over-long conversations, and data sets
    whose responses nobody judges (SftOnly; not counted). An endpoint says only when it is asked what is over-long.
    """
    limit = parameters.max_length if parameters.endpoint is None else None
    prompts = {
        prompt.prompt_id: prompt.prompt
        for prompt in read_rows(shard_path(parameters.prompts_dir, shard, parameters.shards), Prompt)
        if prompt.task != Task.SFT_ONLY
    }
    conversations: dict[tuple[str, str], Conversation] = {}
    unscored = Counter[str]()
    for response in read_rows(shard_path(parameters.responses_dir, shard, parameters.shards), Response):
        if response.prompt_id not in prompts:
            continue
        if response.finish_reason != "stop" or not response.text.strip():
            unscored["truncated" if response.finish_reason == "length" else "failed"] += 1
            continue
        same = response.prompt_id, response.text
        if same not in conversations:
            prompt = prompts[response.prompt_id]
            conversations[same] = Conversation(prompt, response.text, scorer.length(prompt, response.text))
        one = conversations[same]
        if limit is not None and one.length > limit:
            unscored["too_long"] += 1
        else:
            one.responses.append((response.prompt_id, response.source, response.sample_index))
    return [one for one in conversations.values() if one.responses], unscored


def plan(conversations: list[Conversation], batch_size: int) -> list[list[Conversation]]:
    """Part conversations into batches, the longest first: too little memory shows at once."""
    ranked = sorted(conversations, key=lambda one: (-one.length, one.responses))
    return [ranked[start : start + batch_size] for start in range(0, len(ranked), batch_size)]


def _score(
    scorer: Scorer, batches: list[list[Conversation]], work: Work, parameters: ScoreParameters
) -> list[list[int | None]]:
    """Return the scores of every batch: those of earlier pods, or new ones."""
    digest = hashlib.sha256(repr([[one.responses for one in batch] for batch in batches]).encode()).hexdigest()
    done: dict[int, list[int | None]] = {}
    for part in _parts(work, parameters):
        lines = read_json_lines(part, Batch)
        done |= {line.batch: line.scores_micro for line in lines if line.plan == digest}
    sizes = [sum(len(one.responses) for one in batch) for batch in batches]
    lines_of_ours = JsonLines(_part(work, parameters))

    scored, total = sum(sizes[number] for number in done), sum(sizes)

    def store(number: int, found: list[int | None]) -> None:
        nonlocal scored
        lines_of_ours.append(Batch(plan=digest, batch=number, scores_micro=found))
        done[number] = found
        scored += sizes[number]
        work.report(scored, total, "responses")

    work.report(scored, total, "responses")
    todo = [number for number in range(len(batches)) if number not in done]
    try:
        scorer.score_all(((n, [(one.prompt, one.answer) for one in batches[n]]) for n in todo), store)
    finally:
        lines_of_ours.close()
    return [done[number] for number in range(len(batches))]


def _part(work: Work, parameters: ScoreParameters) -> Path:
    return work.output / "parts" / f"{shard_name(work.shard or 0, parameters.shards)}.{work.pod_uid}.jsonl"


def _parts(work: Work, parameters: ScoreParameters) -> list[Path]:
    return sorted((work.output / "parts").glob(f"{shard_name(work.shard or 0, parameters.shards)}.*.jsonl"))
