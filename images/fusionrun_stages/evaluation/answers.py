"""Questions with a model's responses, and the verdicts and judgements on them, joined in bounded memory."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, Protocol, TypeVar

from fusionrun.api.evaluation_records import Judgement, Question
from fusionrun.api.records import Response, Verdict
from fusionrun_stages.errors import InfrastructureError
from fusionrun_stages.judges.protocol import Reply
from fusionrun_stages.volume.paths import inside_volume

BATCH_RESPONSES, BATCH_CHARACTERS = 4096, 16 * 2**20
"""Size of a batch in memory; a batch has at least one question."""
READ_ROWS = 64
"""Questions that are read at once: a question may have tests of some megabytes."""


class Keyed(Protocol):
    """A row about a prompt."""

    @property
    def prompt_id(self) -> str:
        """The prompt."""
        ...


R = TypeVar("R", bound=Keyed)


@dataclass
class Answered:
    """A question and what there is about the responses to it."""

    question: Question
    responses: list[Response] = field(default_factory=list)
    """In the order of the samples."""
    verdicts: dict[int, Verdict] = field(default_factory=dict)
    """By sample."""
    replies: dict[int, dict[int, Reply]] = field(default_factory=dict)
    """The last reply to each call of the judge, by sample, then by the number of the call."""
    judges: frozenset[str] = frozenset()
    """Names of the judge in its replies."""

    @property
    def characters(self) -> int:
        """Approximate size in memory."""
        texts = [self.question.prompt, self.question.data or "", *(self.question.tests or ())]
        texts += [response.text for response in self.responses]
        return sum(map(len, texts))


def read_questions(path: Path) -> Iterator[Question]:
    """Yield the questions of a shard; prompts of releases up to 0.2.0 lack the fields that only questions have.

    A row group is read at a time. Its size is bounded where the file is written.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(inside_volume(path)) as file:
        for group in range(file.num_row_groups):
            for batch in file.iter_batches(batch_size=READ_ROWS, row_groups=[group]):
                for row in batch.to_pylist():
                    yield Question.model_validate(row)


def join(
    questions: Iterable[Question],
    responses: Iterable[Response],
    verdicts: Iterable[Verdict] = (),
    judgements: Iterable[Judgement] = (),
) -> Iterator[Answered]:
    """Yield every question with its rows. All rows are sorted by prompt; InfrastructureError if they are not."""
    streams: list[Iterator[tuple[str, list[Any]]]] = [
        _grouped(responses, "responses"),
        _grouped(verdicts, "verdicts"),
        _grouped(judgements, "judgements"),
    ]
    heads = [next(stream, None) for stream in streams]
    for question in _in_order(questions, "prompts"):
        found: list[list[Any]] = []
        for number, stream in enumerate(streams):
            head = heads[number]
            while head is not None and head[0] < question.prompt_id:
                head = next(stream, None)
            heads[number] = head
            found.append(head[1] if head is not None and head[0] == question.prompt_id else [])
        yield Answered(
            question,
            sorted(found[0], key=attrgetter("sample_index")),
            {verdict.sample_index: verdict for verdict in found[1]},
            _last_replies(found[2]),
            frozenset(row.model for row in found[2] if row.model),
        )


def batches(answered: Iterable[Answered]) -> Iterator[list[Answered]]:
    """Split into batches that fit in memory."""
    batch: list[Answered] = []
    count = size = 0
    for one in answered:
        batch.append(one)
        count += max(1, len(one.responses))
        size += one.characters
        if count >= BATCH_RESPONSES or size >= BATCH_CHARACTERS:
            yield batch
            batch, count, size = [], 0, 0
    if batch:
        yield batch


def _last_replies(judgements: Iterable[Judgement]) -> dict[int, dict[int, Reply]]:
    replies: dict[int, dict[int, Reply]] = defaultdict(dict)
    for row in sorted(judgements, key=attrgetter("attempt")):
        replies[row.sample_index][row.call] = _reply(row)
    return replies


def _reply(row: Judgement) -> Reply:
    import json

    return Reply(row.text, json.loads(row.logprobs) if row.logprobs else {}, row.finish_reason)


def _grouped(rows: Iterable[R], what: str) -> Iterator[tuple[str, list[R]]]:
    for prompt_id, group in groupby(_in_order(rows, what), key=attrgetter("prompt_id")):
        yield prompt_id, list(group)


def _in_order(rows: Iterable[R], what: str) -> Iterator[R]:
    last = ""
    for row in rows:
        if row.prompt_id < last:
            raise InfrastructureError(f"{what}: prompt {row.prompt_id} comes after {last}: the shard is not sorted")
        last = row.prompt_id
        yield row
