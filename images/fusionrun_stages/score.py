"""score: score every usable response with the reward model.

Run: ``FUSIONRUN_TASK=task.json JOB_COMPLETION_INDEX=0 python -m fusionrun_stages score``

A pod loads the model once and scores shards until none is left (``pod.shards``). The batches depend only on the
conversations of the shard and on the limits of a batch (sorted by length, to minimize padding). All conversations of an
incomplete batch are scored again, so a retry gives the same scores. Complete batches are appended to a part file per
pod; a successor reads the part files of its predecessors. With an endpoint a batch is one request. The memory depends
on the number of responses, not on their lengths (``reward.conversations``).
"""

import hashlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from fusionrun.api.artifacts import PARTS, SCORES, shard_name
from fusionrun.api.records import Row, Score
from fusionrun.api.results.values import Scored
from fusionrun.api.tasks.responses import ScoreParameters
from fusionrun_stages.reward.calibration import calibrate
from fusionrun_stages.reward.conversations import (
    Conversation,
    SampleKey,
    TextFile,
    make_batches,
    open_text_file,
    read_conversations,
)
from fusionrun_stages.reward.scorer import Scorer, load_scorer
from fusionrun_stages.volume.json_lines import JsonLines, read_json_lines
from fusionrun_stages.volume.parquet import write_rows
from fusionrun_stages.volume.paths import shard_path
from fusionrun_stages.work import Made, Work


class ScoredBatch(Row):
    """A line of a part file: the scores of one complete batch."""

    plan: str
    """Digest of all batches: lines with another digest are ignored."""
    batch: int
    scores_micro: list[int | None]
    """None: longer than the endpoint or ``maxLength`` allows."""


def run(work: Work) -> Made:
    """Load the model and score one shard."""
    return start(work)(work)


def start(work: Work) -> Callable[[Work], Made]:
    """Load the model and check the calibration; return the function that scores a shard."""
    parameters = work.parameters(ScoreParameters)
    scorer = load_scorer(parameters, "cuda" if work.task.gpus else "cpu")
    details = scorer.details
    if parameters.calibration is not None:
        details["calibration"] = calibrate(scorer, parameters.calibration)
    return partial(_score_shard, scorer, details)


def total(values: Iterable[Scored]) -> Scored:
    """Return the sum of the results of several shards."""
    results = list(values)
    return Scored(scored=sum(v.scored for v in results), unscored=sum(v.unscored for v in results))


def _score_shard(scorer: Scorer, details: dict[str, Any], work: Work) -> Made:
    """Write ``scores/NNNNN-of-NNNNN.parquet``, sorted by prompt, source and sample."""
    parameters = work.parameters(ScoreParameters)
    shard = work.shard or 0
    scores: list[tuple[SampleKey, int]] = []
    with open_text_file() as texts:
        conversations, unscored = read_conversations(texts, scorer.length, parameters, shard)
        batches = _batches(conversations, parameters)
        for batch, batch_scores in zip(batches, _score(scorer, batches, texts, work, parameters), strict=True):
            for conversation, score in zip(batch, batch_scores, strict=True):
                if score is None:
                    unscored["too_long"] += len(conversation.keys)
                else:
                    scores += [(key, score) for key in conversation.keys]
    scores.sort()
    path = shard_path(work.output / SCORES, shard, parameters.shards)
    rows = (Score(prompt_id=p, source=s, sample_index=i, score_micro=score) for (p, s, i), score in scores)
    write_rows(path, Score, rows)
    for part in _parts(work, parameters):
        part.unlink(missing_ok=True)
    return Made(
        values=Scored(scored=len(scores), unscored=sum(unscored.values())),
        files=[str(path.relative_to(work.output))],
        details=details | {"unscored": dict(unscored)},
    )


def _batches(conversations: list[Conversation], parameters: ScoreParameters) -> list[list[Conversation]]:
    """Return the batches; for an endpoint, one conversation each."""
    if parameters.endpoint is not None:
        return make_batches(conversations, 1, None)
    return make_batches(conversations, parameters.batch_size, parameters.max_batch_tokens)


def _score(
    scorer: Scorer, batches: list[list[Conversation]], texts: TextFile, work: Work, parameters: ScoreParameters
) -> list[list[int | None]]:
    """Return the scores of every batch: stored by earlier pods, or computed now."""
    digest = hashlib.sha256(repr([[c.keys for c in batch] for batch in batches]).encode()).hexdigest()
    done: dict[int, list[int | None]] = {}
    for part in _parts(work, parameters):
        lines = read_json_lines(part, ScoredBatch)
        done |= {line.batch: line.scores_micro for line in lines if line.plan == digest}
    sizes = [sum(len(c.keys) for c in batch) for batch in batches]
    new_lines = JsonLines(_part(work, parameters))
    scored, total = sum(sizes[number] for number in done), sum(sizes)

    def store(number: int, scores_micro: list[int | None]) -> None:
        nonlocal scored
        new_lines.append(ScoredBatch(plan=digest, batch=number, scores_micro=scores_micro))
        done[number] = scores_micro
        scored += sizes[number]
        work.report(scored, total, "responses")

    work.report(scored, total, "responses")
    missing = [number for number in range(len(batches)) if number not in done]
    try:
        batch_texts = (
            (n, [(texts.read_prompt(c.prompt), texts.read(c.response)) for c in batches[n]]) for n in missing
        )
        scorer.score_all(batch_texts, store)
    finally:
        new_lines.close()
    return [done[number] for number in range(len(batches))]


def _part(work: Work, parameters: ScoreParameters) -> Path:
    return work.output / PARTS / f"{shard_name(work.shard or 0, parameters.shards)}.{work.pod_uid}.jsonl"


def _parts(work: Work, parameters: ScoreParameters) -> list[Path]:
    return sorted((work.output / PARTS).glob(f"{shard_name(work.shard or 0, parameters.shards)}.*.jsonl"))
