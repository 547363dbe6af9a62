"""Points for the responses of one benchmark, by its grader."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fusionrun.api.evaluation_records import Question
from fusionrun.api.records import Response, Verdict, VerdictValue
from fusionrun.api.spec.evaluation import Grader
from fusionrun.api.tasks.evaluation import BenchmarkParameters
from fusionrun.api.tasks.protocol import Protocol, Unit
from fusionrun_stages.errors import InfrastructureError
from fusionrun_stages.evaluation.answers import Answered
from fusionrun_stages.grade import PROMPT_FAULT
from fusionrun_stages.grading.marks import Mark
from fusionrun_stages.judges.protocol import JudgeProtocol
from fusionrun_stages.uncertainty.intervals import RANGES

PLUS = "plus"
"""Metric of EvalPlus: all tests instead of the base tests."""


@dataclass(frozen=True)
class Points:
    """Points of one response, in the unit of the benchmark."""

    value: float | None
    """None if the question cannot be graded, or if the judge gave no usable verdict."""
    weight: float = 1.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Values of the other metrics, by name."""
    unparsed: bool = False
    consistent: bool | None = None
    detail: str = ""


@dataclass(frozen=True)
class Graded:
    """A question with the points of its responses, in the same order."""

    answered: Answered
    points: list[Points]


@dataclass(frozen=True)
class Inputs:
    """What the graders need besides the rows."""

    has_verdicts: bool = False
    has_judgements: bool = False
    materials: Path | None = None
    """Folder with one folder of materials per benchmark."""
    report: Callable[[int], None] = lambda _: None
    """Called while a grader works, so that the pod is not taken for a stalled one."""


Answer = tuple[Answered, Response]


class BenchmarkGrader:
    """Grades the responses of one benchmark; a judge protocol is opened once."""

    def __init__(self, benchmark: BenchmarkParameters, inputs: Inputs) -> None:
        self.name = benchmark.name
        self.grader = benchmark.grader
        self.protocol = benchmark.protocol
        self._inputs = inputs
        self._judge = self._open_judge(benchmark.protocol) if benchmark.grader.needs_judge else None

    @property
    def low(self) -> float:
        """Points of a wrong response."""
        return RANGES[self.protocol.unit if self.protocol else Unit.PERCENT][0]

    @property
    def high(self) -> float:
        """Points of a right response."""
        return RANGES[self.protocol.unit if self.protocol else Unit.PERCENT][1]

    def grade(self, batch: Sequence[Answered]) -> Iterator[Graded]:
        """Yield the questions of a batch with the points of their responses.

        A failed response is wrong. So is a truncated one, unless the protocol grades it.
        """
        answers = [(one, response) for one in batch for response in self._used(one)]
        points = iter(self._all_points(answers))
        for one in batch:
            responses = self._used(one)
            yield Graded(replace(one, responses=responses), [next(points) for _ in responses])

    def _used(self, one: Answered) -> list[Response]:
        """Return the responses that count: without a protocol, the first one."""
        return one.responses if self.protocol else one.responses[:1]

    def _all_points(self, answers: Sequence[Answer]) -> list[Points]:
        asked = [index for index, (_, response) in enumerate(answers) if response.finish_reason != "error"]
        graded = dict(zip(asked, self._points([answers[index] for index in asked]), strict=True))
        grades_truncated = self.protocol is not None and self.protocol.grades_truncated
        result = []
        for index, (_, response) in enumerate(answers):
            points = graded.get(index, self._wrong("the request failed"))
            if response.finish_reason == "length" and not grades_truncated and points.value is not None:
                points = self._wrong("truncated")
            result.append(points)
        return result

    def _wrong(self, detail: str) -> Points:
        names = self.protocol.metrics[1:] if self.protocol else []
        return Points(self.low, metrics=dict.fromkeys(names, self.low), detail=detail)

    def _points(self, answers: Sequence[Answer]) -> list[Points]:
        if self._judge is not None:
            return [self._judged(self._judge, one, response) for one, response in answers]
        return [self._of_mark(mark) for mark in self._marks(answers)]

    def _of_mark(self, mark: Mark) -> Points:
        scale = self.high - self.low
        return Points(
            None if mark.value is None else self.low + scale * mark.value,
            metrics={name: self.low + scale * value for name, value in mark.metrics.items()},
            unparsed=not mark.parsed,
            detail=mark.detail,
        )

    def _judged(self, judge: JudgeProtocol, one: Answered, response: Response) -> Points:
        judged = judge.judged(one.question, response, one.replies.get(response.sample_index, {}))
        return Points(judged.value, judged.weight, judged.metrics, judged.unparsed > 0, judged.consistent)

    def _open_judge(self, protocol: Protocol | None) -> JudgeProtocol:
        if protocol is None or self._inputs.materials is None or not self._inputs.has_judgements:
            raise InfrastructureError(f"benchmark {self.name} is judged, but the task has no judgements")
        from fusionrun_stages.judges.open import open_judge

        return open_judge(protocol, self._inputs.materials / self.name)

    def _marks(self, answers: Sequence[Answer]) -> list[Mark]:
        match self.grader:
            case Grader.CHOICE:
                from fusionrun_stages.grading import choice

                return [choice.grade(one.question, response.text) for one, response in answers]
            case Grader.QWEN_MATHEMATICS:
                return self._qwen_mathematics(answers)
            case Grader.CODING | Grader.EVAL_PLUS | Grader.LIVE_CODE_BENCH:
                return [self._of_verdict(*answer) for answer in answers]
            case Grader.LIVE_BENCH:
                return self._live_bench(answers)
            case _:
                return self._by_rule(answers)

    def _qwen_mathematics(self, answers: Sequence[Answer]) -> list[Mark]:
        from fusionrun_stages.grading import qwen_mathematics

        marks: dict[int, Mark] = {}
        for index, mark in qwen_mathematics.grade_all([(one.question, response.text) for one, response in answers]):
            marks[index] = mark
            self._inputs.report(len(marks))
        return [marks[index] for index in range(len(answers))]

    def _live_bench(self, answers: Sequence[Answer]) -> list[Mark]:
        from fusionrun_stages.grading import live_bench

        marks = []
        for done, (one, response) in enumerate(answers, start=1):
            in_sandbox = one.question.task == Grader.LIVE_CODE_BENCH
            mark = self._of_verdict(one, response) if in_sandbox else live_bench.grade(one.question, response.text)
            marks.append(mark)
            self._inputs.report(done)
        return marks

    def _by_rule(self, answers: Sequence[Answer]) -> list[Mark]:
        from fusionrun_stages.grading.judging import PromptResponses, judge

        joined: dict[str, PromptResponses] = {}
        for one, response in answers:
            prompt_id = one.question.prompt_id
            joined.setdefault(prompt_id, PromptResponses(one.question)).responses.append(response)
        verdicts = judge(self.grader, list(joined.values()), self._inputs.report)
        by_key = {(verdict.prompt_id, verdict.sample_index): verdict for verdict in verdicts}
        keys = [(one.question.prompt_id, response.sample_index) for one, response in answers]
        return [mark_of(by_key.get(key)) for key in keys]

    def _of_verdict(self, one: Answered, response: Response) -> Mark:
        if not self._inputs.has_verdicts:
            raise InfrastructureError(f"benchmark {self.name} is graded by tests, but the task has no verdicts")
        return mark_of(one.verdicts.get(response.sample_index))


def mark_of(verdict: Verdict | None) -> Mark:
    """Return the mark of a verdict: 1 if it is right; None if no response to the prompt can be judged."""
    if verdict is None:
        return Mark(0.0, "no verdict")
    if verdict.detail.startswith(PROMPT_FAULT):
        return Mark(None, verdict.detail)
    metrics = {} if verdict.plus is None else {PLUS: float(verdict.plus is VerdictValue.RIGHT)}
    right = verdict.verdict is VerdictValue.RIGHT
    return Mark(float(right), "" if right else verdict.detail or str(verdict.verdict), metrics=metrics)


def example_of(question: Question, response: Response | None, points: Points | None, limit: int) -> dict[str, object]:
    """Return a wrong response for people, with texts of at most ``limit`` characters."""
    return {
        "prompt": question.prompt[:limit],
        "reference": question.answer[:limit] if question.answer is not None else None,
        "answer": response.text[:limit] if response else None,
        "finish_reason": response.finish_reason if response else "error",
        "points": points.value if points else None,
        "detail": points.detail[:limit] if points else "",
    }
