"""score: the reward model's score of every response that may be used, one shard per pod.

Batches are fixed by what is scored (sorted by length, so that little is padded) and resumed whole: a batch that was
cut short is scored again in the same company, so that the same numbers come out. Finished batches are appended to a
part file of this pod's own; those of its predecessors are read.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fusionrun.api.artifacts import shard_name
from fusionrun.api.data import Task
from fusionrun.api.models import Calibration
from fusionrun.api.records import Prompt, Response, Row, Score
from fusionrun.api.task import ScoreParameters
from fusionrun_stages.errors import UserError
from fusionrun_stages.reward_model import MICRO, RewardModel
from fusionrun_stages.shards import JsonLines, read_json_lines, read_rows, shard_path, write_rows
from fusionrun_stages.work import Made, Work


class Batch(Row):
    """A line of a part file: the scores of one whole batch."""

    plan: str
    """Digest of all batches: another plan's lines are passed over."""
    batch: int
    scores_micro: list[int]


Key = tuple[str, str, int]
"""Prompt, source and sample."""


@dataclass
class Conversation:
    """What is scored: the responses to one prompt that say the same are scored once, and so alike to the last digit."""

    prompt: str
    answer: str
    tokens: int
    """Its length."""
    responses: list[Key] = field(default_factory=list)


def run(work: Work) -> Made:
    """Check the model's scale, then write ``scores/NNNNN-of-NNNNN.parquet``, sorted by prompt, source and sample.

    Raises
    ------
    UserError
        If the model is no reward model, or the calibration's pairs show another scale or order.
    """
    parameters = work.task.parameters
    assert isinstance(parameters, ScoreParameters)
    model = RewardModel(parameters.model_path, trust_remote_code=parameters.trust_remote_code)
    details: dict[str, object] = {"device": model.device}
    if parameters.calibration is not None:
        details["calibration"] = calibrate(model, parameters.calibration)
    shard = work.shard or 0
    conversations, unscored = gather(model, parameters, shard)
    batches = plan(conversations, parameters.batch_size)
    scores = [
        Score(prompt_id=prompt_id, source=source, sample_index=sample_index, score_micro=score)
        for batch, found in zip(batches, _score(model, batches, work, parameters), strict=True)
        for one, score in zip(batch, found, strict=True)
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


def calibrate(model: RewardModel, calibration: Calibration) -> list[dict[str, float]]:
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
    for number, pair in enumerate(calibration.pairs):
        better, worse = model.score([model.encode(pair.prompt, answer) for answer in (pair.better, pair.worse)])
        where = f"rewardModel.calibration.pairs[{number}]"
        for name, score in (("better", better), ("worse", worse)):
            if not low <= score / MICRO <= high:
                raise UserError(f"{where}.{name}: the score {score / MICRO:.6f} is off the scale [{low}, {high}]")
        if better <= worse:
            raise UserError(
                f"{where}: the order is wrong: better scores {better / MICRO:.6f}, worse {worse / MICRO:.6f}"
            )
        found.append({"better": better / MICRO, "worse": worse / MICRO})
    return found


def gather(model: RewardModel, parameters: ScoreParameters, shard: int) -> tuple[list[Conversation], Counter[str]]:
    """Read the conversations to score, and count those left out by reason.

    Left out are responses that are never used (failed, blank or cut ones), over-long conversations, and data sets
    whose responses nobody judges (SftOnly; not counted).
    """
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
            conversations[same] = Conversation(prompt, response.text, len(model.encode(prompt, response.text)))
        one = conversations[same]
        if one.tokens > parameters.max_length:
            unscored["too_long"] += 1
        else:
            one.responses.append((response.prompt_id, response.source, response.sample_index))
    return [one for one in conversations.values() if one.responses], unscored


def plan(conversations: list[Conversation], batch_size: int) -> list[list[Conversation]]:
    """Part conversations into batches, the longest first: too little memory shows at once."""
    ranked = sorted(conversations, key=lambda one: (-one.tokens, one.responses))
    return [ranked[start : start + batch_size] for start in range(0, len(ranked), batch_size)]


def _score(
    model: RewardModel, batches: list[list[Conversation]], work: Work, parameters: ScoreParameters
) -> Iterator[list[int]]:
    """Yield the scores of one batch after the other: those of earlier pods, or new ones."""
    digest = hashlib.sha256(repr([[one.responses for one in batch] for batch in batches]).encode()).hexdigest()
    done: dict[int, list[int]] = {}
    for part in _parts(work, parameters):
        lines = read_json_lines(part, Batch)
        done |= {line.batch: line.scores_micro for line in lines if line.plan == digest}
    total = sum(len(one.responses) for batch in batches for one in batch)
    scored = 0
    lines_of_ours = JsonLines(_part(work, parameters))
    try:
        for number, batch in enumerate(batches):
            if number not in done:
                found = model.score([model.encode(one.prompt, one.answer) for one in batch])
                lines_of_ours.append(Batch(plan=digest, batch=number, scores_micro=found))
                done[number] = found
            scored += sum(len(one.responses) for one in batch)
            work.report(scored, total, "responses")
            yield done[number]
    finally:
        lines_of_ours.close()


def _part(work: Work, parameters: ScoreParameters) -> Path:
    return work.output / "parts" / f"{shard_name(work.shard or 0, parameters.shards)}.{work.pod_uid}.jsonl"


def _parts(work: Work, parameters: ScoreParameters) -> list[Path]:
    return sorted((work.output / "parts").glob(f"{shard_name(work.shard or 0, parameters.shards)}.*.jsonl"))
