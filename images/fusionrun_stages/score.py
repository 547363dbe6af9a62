"""score: the reward model's score of every response that may be used, one shard per pod.

Batches are fixed by what is scored (sorted by length, so that little is padded) and resumed whole: a batch that was
cut short is scored again in the same company, so that the same numbers come out. Finished batches are appended to a
part file of this pod's own; those of its predecessors are read. Where an endpoint scores, a batch is one request.
Memory grows with the number of responses, not with their lengths (``conversations``).
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from fusionrun.api.artifacts import PARTS, SCORES, shard_name
from fusionrun.api.models import Calibration
from fusionrun.api.parameters import ScoreParameters
from fusionrun.api.records import MICRO, Row, Score
from fusionrun.api.values import Scored
from fusionrun_stages.errors import UserError
from fusionrun_stages.reward.conversations import Conversation, Key, Texts, gather, plan, texts_on_disk
from fusionrun_stages.reward.model import RewardModel, Store, Text
from fusionrun_stages.volume.json_lines import JsonLines, read_json_lines
from fusionrun_stages.volume.parquet import write_rows
from fusionrun_stages.volume.paths import shard_path
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

    def length(self, prompt: str, answer: str) -> int | None:
        """Return a conversation's tokens; of an endpoint, which alone knows them, its characters.

        None: it holds the model's padding, so that its score would be that of something else.
        """

    def score_all(self, batches: Iterable[tuple[int, Sequence[Text]]], store: Store) -> None:
        """Score numbered batches; hand over each as it is done."""


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
    scorer, batch_size = _scorer(parameters, "cuda" if work.task.gpus else "cpu")
    details = scorer.details
    if parameters.calibration is not None:
        details["calibration"] = calibrate(scorer, parameters.calibration)
    shard = work.shard or 0
    scores: list[tuple[Key, int]] = []
    with texts_on_disk() as texts:
        conversations, unscored = gather(texts, scorer.length, parameters, shard)
        batches = plan(conversations, batch_size)
        for batch, found in zip(batches, _score(scorer, batches, texts, work, parameters), strict=True):
            for one, score in zip(batch, found, strict=True):
                if score is None:
                    unscored["too_long"] += len(one.responses)
                else:
                    scores += [(key, score) for key in one.responses]
    scores.sort()
    path = shard_path(work.output / SCORES, shard, parameters.shards)
    write_rows(path, Score, _rows(scores))
    for part in _parts(work, parameters):
        part.unlink(missing_ok=True)
    return Made(
        values=Scored(scored=len(scores), unscored=sum(unscored.values())),
        files=[str(path.relative_to(work.output))],
        details=details | {"unscored": dict(unscored)},
    )


def _scorer(parameters: ScoreParameters, device: str) -> tuple[Scorer, int]:
    """Return what scores, and the size of its batches."""
    if parameters.endpoint is not None:
        # It runs in the data image: the reward image has no HTTP client.
        from fusionrun_stages.reward.endpoint import RewardEndpoint

        return RewardEndpoint(parameters.endpoint, parameters.max_length), 1
    if parameters.model_path is None:
        raise UserError("rewardModel: exactly one of model and endpoint is required")
    model = RewardModel(parameters.model_path, device, trust_remote_code=parameters.trust_remote_code)
    return model, parameters.batch_size


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


def _rows(scores: list[tuple[Key, int]]) -> Iterator[Score]:
    for (prompt_id, source, sample_index), score in scores:
        yield Score(prompt_id=prompt_id, source=source, sample_index=sample_index, score_micro=score)


def _score(
    scorer: Scorer, batches: list[list[Conversation]], texts: Texts, work: Work, parameters: ScoreParameters
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
        read = ((n, [(texts.read(one.prompt), texts.read(one.answer)) for one in batches[n]]) for n in todo)
        scorer.score_all(read, store)
    finally:
        lines_of_ours.close()
    return [done[number] for number in range(len(batches))]


def _part(work: Work, parameters: ScoreParameters) -> Path:
    return work.output / PARTS / f"{shard_name(work.shard or 0, parameters.shards)}.{work.pod_uid}.jsonl"


def _parts(work: Work, parameters: ScoreParameters) -> list[Path]:
    return sorted((work.output / PARTS).glob(f"{shard_name(work.shard or 0, parameters.shards)}.*.jsonl"))
