"""verify: judge one source's responses by rule, one shard per pod; right, wrong or unknown."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, assert_never

from fusionrun.api.data import Grader
from fusionrun.api.records import Prompt, Response, Verdict, VerdictValue
from fusionrun.api.task import VerifyParameters
from fusionrun_stages.graders import Grade, exact_match, unknown
from fusionrun_stages.shards import read_rows, shard_path, write_rows
from fusionrun_stages.work import Made, Report, Work

EXAMPLES = 5
"""Verdicts with a reason that the manifest shows."""


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
    prompts = read_rows(shard_path(parameters.prompts_dir, shard, parameters.shards), Prompt)
    responses = read_rows(shard_path(parameters.responses_dir, shard, parameters.shards), Response)
    verdicts = judge(parameters.grader, gather(prompts, responses, parameters.datasets), work.report)
    verdicts.sort(key=lambda row: (row.prompt_id, row.source, row.sample_index))
    path = shard_path(work.output / "verdicts", shard, parameters.shards)
    write_rows(path, Verdict, verdicts)
    counts = Counter(row.verdict for row in verdicts)
    return Made(
        files=[str(path.relative_to(work.output))],
        counts={str(value): counts[value] for value in VerdictValue},
        details=_details(verdicts),
    )


def gather(prompts: Iterable[Prompt], responses: Iterable[Response], datasets: Iterable[str]) -> list[Question]:
    """Put the responses to their prompts, those of the given data sets only."""
    wanted = set(datasets)
    questions = {prompt.prompt_id: Question(prompt) for prompt in prompts if prompt.dataset in wanted}
    for response in responses:
        if response.prompt_id in questions:
            questions[response.prompt_id].responses.append(response)
    return [question for question in questions.values() if question.responses]


def judge(grader: Grader, questions: list[Question], report: Report) -> list[Verdict]:
    """Judge every response. A failed request is unknown; a cut response is judged like any other.

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
    answered = [question for question in answered if question.responses]
    total = sum(len(question.responses) for question in answered)
    done = 0
    for question, grades in _grade(grader, answered):
        pairs = zip(question.responses, grades, strict=True)
        verdicts += [_verdict(response, grade) for response, grade in pairs]
        done += len(grades)
        report(done, total, "responses")
    return verdicts


def _grade(grader: Grader, questions: list[Question]) -> Iterator[tuple[Question, list[Grade]]]:
    match grader:
        case Grader.EXACT_MATCH:
            for question in questions:
                texts = [response.text for response in question.responses]
                yield question, [exact_match.grade(question.prompt.answer, text) for text in texts]
        case Grader.MATHEMATICS:
            from fusionrun_stages.graders import mathematics

            asked = [mathematics.Question(q.prompt.answer, [r.text for r in q.responses]) for q in questions]
            for index, grades in mathematics.grade_all(asked):
                yield questions[index], grades
        case Grader.CODING:
            from fusionrun_stages.graders import coding

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
        detail=grade.detail[:500],
    )


def _details(verdicts: list[Verdict]) -> dict[str, Any]:
    """Count the reasons, and show the first examples of what is unknown."""
    reasons = Counter(row.detail.split(":")[0] for row in verdicts if row.detail)
    examples = [row.model_dump(mode="json") for row in verdicts if row.verdict is VerdictValue.UNKNOWN]
    return {"reasons": dict(reasons.most_common(20)), "unknown": examples[:EXAMPLES]}
