"""verify: judge one source's responses by rule, one shard per pod; right, wrong or unknown.

Prompts and responses are both sorted by prompt, so they are read side by side, and judged and written some at a time:
the judge of programs has little memory, and a shard may be of any size.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar, assert_never

from fusionrun.api.artifacts import VERDICTS
from fusionrun.api.data import Grader
from fusionrun.api.parameters import VerifyParameters
from fusionrun.api.records import Prompt, Response, Verdict, VerdictValue, replace_surrogates
from fusionrun.api.values import Verified
from fusionrun_stages.errors import InfrastructureError
from fusionrun_stages.grade import Grade, unknown
from fusionrun_stages.grading import exact_match
from fusionrun_stages.volume.parquet import open_rows, read_rows
from fusionrun_stages.volume.paths import inside_volume, shard_path
from fusionrun_stages.work import Made, Work

EXAMPLES = 5
"""Verdicts with a reason that the manifest shows."""
BATCH_RESPONSES, BATCH_CHARACTERS = 4096, 16 * 2**20
"""What is held at once, but at least one prompt with its responses."""

P = TypeVar("P", Prompt, Response)


@dataclass
class Question:
    """A prompt and the responses to judge."""

    prompt: Prompt
    responses: list[Response] = field(default_factory=list)


def run(work: Work) -> Made:
    """Write ``verdicts/NNNNN-of-NNNNN.parquet``, sorted by prompt, source and sample."""
    parameters = work.task.parameters
    assert isinstance(parameters, VerifyParameters)
    shard = work.shard or 0
    prompts = shard_path(parameters.prompts_dir, shard, parameters.shards)
    responses = shard_path(parameters.responses_dir, shard, parameters.shards)
    questions = gather(read_rows(prompts, Prompt), read_rows(responses, Response), parameters.datasets)
    path = shard_path(work.output / VERDICTS, shard, parameters.shards)
    total, tally = _count_rows(responses), Tally()
    with open_rows(path, Verdict) as writer:
        for batch in batches(questions):
            for row in judge(parameters.grader, batch):
                writer.append(row)
                tally.add(row)
            work.report(writer.count, total, "responses")
    return Made(
        values=Verified(**{value.value: tally.verdicts[value] for value in VerdictValue}),
        files=[str(path.relative_to(work.output))],
        details=tally.details() | _walls(parameters.grader, writer.count),
    )


def gather(prompts: Iterable[Prompt], responses: Iterable[Response], datasets: Iterable[str]) -> Iterator[Question]:
    """Put the responses to their prompts, those of the given data sets only; both come sorted by prompt.

    Raises
    ------
    InfrastructureError
        If they are not sorted: responses would be passed over without a word.
    """
    wanted = set(datasets)
    groups = groupby(_in_order(responses), key=attrgetter("prompt_id"))
    name, group = next(groups, (None, iter(())))
    for prompt in _in_order(prompts):
        while name is not None and name < prompt.prompt_id:
            name, group = next(groups, (None, iter(())))
        if name == prompt.prompt_id and prompt.dataset in wanted:
            yield Question(prompt, list(group))


def _in_order(rows: Iterable[P]) -> Iterator[P]:
    last = ""
    for row in rows:
        if row.prompt_id < last:
            raise InfrastructureError(f"prompt {row.prompt_id} comes after {last}: the shard is not sorted by prompt")
        last = row.prompt_id
        yield row


def batches(questions: Iterable[Question]) -> Iterator[list[Question]]:
    """Yield whole questions, as many at a time as may be held."""
    batch: list[Question] = []
    count = size = 0
    for question in questions:
        batch.append(question)
        count += len(question.responses)
        size += sum(len(response.text) for response in question.responses)
        if count >= BATCH_RESPONSES or size >= BATCH_CHARACTERS:
            yield batch
            batch, count, size = [], 0, 0
    if batch:
        yield batch


def _count_rows(path: Path) -> int:
    import pyarrow.parquet as pq

    return int(pq.read_metadata(inside_volume(path)).num_rows)


def judge(grader: Grader, questions: list[Question]) -> list[Verdict]:
    """Judge every response, in order. A failed request is unknown; a cut response is judged like any other.

    Notes
    -----
    ``construct`` never uses a cut response, and ``evaluate`` counts it as wrong.
    """
    verdicts = [
        _verdict(response, unknown(f"the request failed: {response.error or 'no reason given'}"))
        for question in questions
        for response in question.responses
        if response.finish_reason == "error"
    ]
    answered = [Question(q.prompt, [r for r in q.responses if r.finish_reason != "error"]) for q in questions]
    for question, grades in _grade(grader, [question for question in answered if question.responses]):
        pairs = zip(question.responses, grades, strict=True)
        verdicts += [_verdict(response, grade) for response, grade in pairs]
    return sorted(verdicts, key=attrgetter("prompt_id", "source", "sample_index"))


def _grade(grader: Grader, questions: list[Question]) -> Iterator[tuple[Question, list[Grade]]]:
    match grader:
        case Grader.EXACT_MATCH:
            for question in questions:
                texts = [response.text for response in question.responses]
                yield question, [exact_match.grade(question.prompt.answer, text) for text in texts]
        case Grader.MATHEMATICS:
            from fusionrun_stages.grading import mathematics

            asked = [mathematics.Question(q.prompt.answer, [r.text for r in q.responses]) for q in questions]
            for index, grades in mathematics.grade_all(asked):
                yield questions[index], grades
        case Grader.CODING:
            from fusionrun_stages.grading import coding

            programs = [
                coding.Program(response.text, tuple(question.prompt.tests or ()), question.prompt.entry_point)
                for question in questions
                for response in question.responses
            ]
            places = [Question(q.prompt, [response]) for q in questions for response in q.responses]
            for index, grade in coding.grade_all(programs):
                yield places[index], [grade]
        case _:
            assert_never(grader)


def _verdict(response: Response, grade: Grade) -> Verdict:
    return Verdict(
        prompt_id=response.prompt_id,
        source=response.source,
        sample_index=response.sample_index,
        verdict=grade.verdict,
        detail=replace_surrogates(grade.detail[:500]),  # it may quote the program
    )


class Tally:
    """What the manifest tells of the verdicts."""

    def __init__(self) -> None:
        self.verdicts: Counter[VerdictValue] = Counter()
        self._reasons: Counter[str] = Counter()
        self._unknown: list[Verdict] = []

    def add(self, row: Verdict) -> None:
        """Count a verdict and its reason."""
        self.verdicts[row.verdict] += 1
        if row.detail:
            self._reasons[row.detail.split(":")[0]] += 1
        if row.verdict is VerdictValue.UNKNOWN and len(self._unknown) < EXAMPLES:
            self._unknown.append(row)

    def details(self) -> dict[str, Any]:
        """Tell the reasons, and the first examples of what is unknown."""
        examples = [row.model_dump(mode="json") for row in self._unknown]
        return {"reasons": dict(self._reasons.most_common(20)), "unknown": examples}


def _walls(grader: Grader, judged: int) -> dict[str, Any]:
    """Tell what kept the programs apart, if any was run."""
    from fusionrun_stages.grading import coding

    return {"sandbox": asdict(coding.walls())} if grader is Grader.CODING and judged else {}
