"""Grading of responses: join them with their prompts, grade each, and return verdicts."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

from fusionrun.api.evaluation_records import Question
from fusionrun.api.records import Prompt, Response, Verdict, replace_surrogates
from fusionrun.api.spec.evaluation import Grader
from fusionrun_stages.errors import InfrastructureError
from fusionrun_stages.grade import Grade, unknown
from fusionrun_stages.grading import exact_match

BATCH_RESPONSES, BATCH_CHARACTERS = 4096, 16 * 2**20
"""Size of a batch in memory; a batch has at least one prompt with its responses."""

REPORT_RESPONSES = 16
"""Responses between two reports: a program that sleeps takes half a minute of each test."""

P = TypeVar("P", Prompt, Response)

CODE_BENCHMARKS = (Grader.EVAL_PLUS, Grader.LIVE_CODE_BENCH)
"""Tasks of questions with tests in ``Question.data``."""


@dataclass
class PromptResponses:
    """A prompt and its responses."""

    prompt: Prompt
    responses: list[Response] = field(default_factory=list)


def join_responses(
    prompts: Iterable[Prompt], responses: Iterable[Response], datasets: Iterable[str]
) -> Iterator[PromptResponses]:
    """Join the prompts of the given data sets with their responses; both are sorted by prompt.

    Raise InfrastructureError if they are not sorted: otherwise responses would be skipped.
    """
    wanted = set(datasets)
    groups = groupby(_check_order(responses), key=attrgetter("prompt_id"))
    prompt_id, group = next(groups, (None, iter(())))
    for prompt in _check_order(prompts):
        while prompt_id is not None and prompt_id < prompt.prompt_id:
            prompt_id, group = next(groups, (None, iter(())))
        if prompt_id == prompt.prompt_id and prompt.dataset in wanted:
            yield PromptResponses(prompt, list(group))


def takes(grader: Grader, prompt: Prompt) -> bool:
    """Return whether the grader judges responses to a prompt: of LiveBench only programs are run."""
    return grader is not Grader.CODING or prompt.task != Grader.LIVE_BENCH


def _check_order(rows: Iterable[P]) -> Iterator[P]:
    last = ""
    for row in rows:
        if row.prompt_id < last:
            raise InfrastructureError(f"prompt {row.prompt_id} comes after {last}: the shard is not sorted by prompt")
        last = row.prompt_id
        yield row


def make_batches(joined: Iterable[PromptResponses]) -> Iterator[list[PromptResponses]]:
    """Split into batches that fit in memory; the responses to a prompt are in one batch."""
    batch: list[PromptResponses] = []
    count = size = 0
    for one in joined:
        batch.append(one)
        count += len(one.responses)
        size += len(_as_question(one.prompt).data or "") + sum(len(response.text) for response in one.responses)
        if count >= BATCH_RESPONSES or size >= BATCH_CHARACTERS:
            yield batch
            batch, count, size = [], 0, 0
    if batch:
        yield batch


def judge(grader: Grader, joined: list[PromptResponses], report: Callable[[int], None]) -> list[Verdict]:
    """Return a verdict for every response, sorted by prompt, source and sample; unknown for a failed request.

    ``report`` is called with the number of graded responses, every ``REPORT_RESPONSES``. A truncated response is graded
    like any other: ``construct`` never uses it, and ``evaluate`` counts it as wrong.
    """
    verdicts = [
        _verdict(response, unknown(f"the request failed: {response.error or 'no reason given'}"))
        for one in joined
        for response in one.responses
        if response.finish_reason == "error"
    ]
    answered = [PromptResponses(one.prompt, [r for r in one.responses if r.finish_reason != "error"]) for one in joined]
    for done, graded in enumerate(_grade(grader, [one for one in answered if one.responses]), start=1):
        verdicts.append(_verdict(*graded))
        if done % REPORT_RESPONSES == 0:
            report(done)
    return sorted(verdicts, key=attrgetter("prompt_id", "source", "sample_index"))


class _Graded(NamedTuple):
    response: Response
    grade: Grade
    plus: Grade | None = None


def _grade(grader: Grader, joined: list[PromptResponses]) -> Iterator[_Graded]:
    pairs = [(one.prompt, response) for one in joined for response in one.responses]
    match grader:
        case Grader.EXACT_MATCH:
            for prompt, response in pairs:
                yield _Graded(response, exact_match.grade(prompt.answer, response.text))
        case Grader.MATHEMATICS:
            from fusionrun_stages.grading import mathematics

            problems = [mathematics.Problem(one.prompt.answer, [r.text for r in one.responses]) for one in joined]
            for index, grades in mathematics.grade_all(problems):
                yield from map(_Graded, joined[index].responses, grades)
        case Grader.CODING:
            yield from _grade_tests([one for one in joined if one.prompt.task not in CODE_BENCHMARKS])
            yield from _grade_benchmarks([one for one in joined if one.prompt.task in CODE_BENCHMARKS])
        case _:
            if joined:
                raise ValueError(f"verify has no grader {grader}")


def _grade_tests(joined: list[PromptResponses]) -> Iterator[_Graded]:
    """Run programs with the tests of their prompts."""
    from fusionrun_stages.grading import coding

    pairs = [(one.prompt, response) for one in joined for response in one.responses]
    submissions = [
        coding.Submission(response.text, tuple(prompt.tests or ()), prompt.entry_point, prompt.preamble or "")
        for prompt, response in pairs
    ]
    for index, grade in coding.grade_all(submissions):
        yield _Graded(pairs[index][1], grade)


def _grade_benchmarks(joined: list[PromptResponses]) -> Iterator[_Graded]:
    """Run programs as the benchmark of their question does."""
    from fusionrun_stages.grading.coding.benchmark import Asked, grade_questions

    asked = [Asked(_as_question(one.prompt), [response.text for response in one.responses]) for one in joined]
    for index, text, result in grade_questions(asked):
        for response in joined[index].responses:
            if response.text == text:
                yield _Graded(response, result.grade, result.plus)


def _as_question(prompt: Prompt) -> Question:
    return prompt if isinstance(prompt, Question) else Question(**prompt.model_dump())


def _verdict(response: Response, grade: Grade, plus: Grade | None = None) -> Verdict:
    detail = f"plus tests: {plus.detail}" if plus and plus.detail and not grade.detail else grade.detail
    return Verdict(
        prompt_id=response.prompt_id,
        source=response.source,
        sample_index=response.sample_index,
        verdict=grade.verdict,
        detail=replace_surrogates(detail[:500]),  # it may quote the program
        plus=plus and plus.verdict,
    )


def isolation_details(grader: Grader, judged: int) -> dict[str, Any]:
    """Return the sandbox's isolation for the manifest; empty if no program was run."""
    if grader is not Grader.CODING or not judged:
        return {}
    from fusionrun_stages.grading import coding

    return {"sandbox": asdict(coding.isolation())}
