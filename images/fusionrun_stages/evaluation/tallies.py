"""The scores of one benchmark, question by question: counts and numbers, without texts."""

import hashlib
import json
import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from fusionrun.api.evaluation_records import Question, QuestionScore
from fusionrun.api.records import Response, replace_surrogates
from fusionrun.api.tasks.protocol import Aggregation, Protocol
from fusionrun_stages.evaluation.grading import Graded, Points, example_of

EXAMPLES = 3
EXAMPLE_MAX_CHARACTERS = 2000
DETAIL_MAX_CHARACTERS = 200
JUDGES_MAX = 16


@dataclass
class Column:
    """The scores of the questions by one metric."""

    values: "array[float]" = field(default_factory=lambda: array("d"))
    weights: "array[float]" = field(default_factory=lambda: array("d"))
    """0 for a question that is not in the score."""
    groups: list[str] = field(default_factory=list)

    def append(self, value: float | None, weight: float, group: str | None) -> None:
        """Add a question."""
        self.values.append(0.0 if value is None else value)
        self.weights.append(0.0 if value is None else weight)
        self.groups.append(sys.intern(group or ""))


@dataclass
class LengthControl:
    """What the length-controlled win rate of AlpacaEval 2 is computed from, by question."""

    scores: list[QuestionScore] = field(default_factory=list)
    """Rows to complete with the values of the regression."""
    deltas: list[int] = field(default_factory=list)
    """Length of the baseline's response less that of the model's, in characters. Source: evaluation of alpaca-eval,
    metrics/glm_winrate.py: ``output_1`` is the baseline."""
    difficulties: list[float] = field(default_factory=list)
    """``instruction_difficulty`` of the question."""


@dataclass
class Tally:
    """The scores of one model on one benchmark."""

    name: str
    low: float
    high: float
    protocol: Protocol | None = None
    right: int = 0
    """Questions with the highest score."""
    graded: int = 0
    left_out: int = 0
    """Questions that cannot be graded, or without a usable judgement."""
    truncated: int = 0
    failed: int = 0
    blank: int = 0
    """Responses without a text, for example with reasoning only."""
    unparsed: int = 0
    consistent: int = 0
    ordered: int = 0
    """Responses that the judge compared in both orders."""
    judges: set[str] = field(default_factory=set)
    """Names of the judge in its replies: at most ``JUDGES_MAX``."""
    wrong_answers: list[dict[str, Any]] = field(default_factory=list)
    """Examples."""
    columns: dict[str, Column] = field(default_factory=lambda: {"": Column()})
    """Scores by metric; the main one has no name."""
    lengths: "array[float]" = field(default_factory=lambda: array("d"))
    """Mean length of the responses to a question in characters, less that of the baseline if there is one."""
    length_control: LengthControl | None = None
    content_sha256: str | None = None
    """Hash of the questions, if it is known without them."""

    def __post_init__(self) -> None:
        self._hash = hashlib.sha256()
        if self.protocol is not None and self.protocol.aggregation is Aggregation.LENGTH_CONTROLLED:
            self.length_control = LengthControl()

    @property
    def questions_sha256(self) -> str:
        """Hash of the questions, as JSON, in the order of their identifiers."""
        return self.content_sha256 or self._hash.hexdigest()

    def add(self, graded: Graded) -> Iterator[QuestionScore]:
        """Count a question and yield its rows. With length control, the row of the main metric follows at the end."""
        question, responses = graded.answered.question, graded.answered.responses
        self._hash.update(question.model_dump_json().encode() + b"\n")
        if len(self.judges) < JUDGES_MAX:
            self.judges |= graded.answered.judges
        row = self._row(question, responses, graded.points)
        self._count(row)
        self._count_orders(graded.points)
        if row.score is not None and row.score < self.high:
            self._keep_example(question, responses, graded.points)
        self._add_value("", row, _baseline_characters(question))
        for name in self.protocol.metrics[1:] if self.protocol else ():
            value = _mean([(p.metrics.get(name), p.weight) for p in graded.points]) if row.score is not None else None
            further = row.model_copy(update={"metric": name, "score": value})
            self._add_value(name, further, None)
            yield further
        if self.length_control is None:
            yield row
        else:
            self.length_control.scores.append(row)
            self.length_control.deltas.append(_baseline_characters(question) - row.characters)
            self.length_control.difficulties.append(_difficulty(question))

    def add_row(self, row: QuestionScore) -> None:
        """Count a question that is graded already, by one metric."""
        if not row.metric:
            self._count(row)
        self._add_value(row.metric, row, None if row.metric else 0)

    def _count(self, row: QuestionScore) -> None:
        self.truncated += row.truncated
        self.failed += row.failed
        self.blank += row.blank
        self.unparsed += row.unparsed
        if row.score is None:
            self.left_out += 1
        else:
            self.graded += 1
            self.right += row.score == self.high

    def _row(self, question: Question, responses: Sequence[Response], points: Sequence[Points]) -> QuestionScore:
        count = len(responses)
        lost = any(p.value is None and not p.unparsed for p in points)  # the prompt's fault, not the judge's
        value = None if lost else _mean([(p.value, p.weight) for p in points])
        if not responses:
            value = self.low
        weight = sum(p.weight for p in points if p.value is not None) / count if count else 1.0
        details = (p.detail for p in points if p.detail)
        return QuestionScore(
            benchmark=self.name,
            prompt_id=question.prompt_id,
            group=question.group,
            score=value,
            weight=weight if value is not None else 1.0,
            responses=count,
            truncated=sum(r.finish_reason == "length" for r in responses),
            failed=sum(r.finish_reason == "error" for r in responses) + (not responses),
            blank=sum(r.finish_reason != "error" and not r.text.strip() for r in responses),
            unparsed=sum(p.unparsed for p in points),
            characters=round(sum(map(_characters, responses)) / count) if count else 0,
            detail=replace_surrogates(next(details, "")[:DETAIL_MAX_CHARACTERS]),
        )

    def _count_orders(self, points: Sequence[Points]) -> None:
        found = [p.consistent for p in points if p.consistent is not None]
        self.ordered += len(found)
        self.consistent += sum(found)

    def _keep_example(self, question: Question, responses: Sequence[Response], points: Sequence[Points]) -> None:
        if len(self.wrong_answers) >= EXAMPLES or (self.protocol is not None and not self.protocol.shows_examples):
            return
        wrong = (i for i, p in enumerate(points) if p.value is None or p.value < self.high)
        index = next(wrong, None)
        response, shown = (None, None) if index is None else (responses[index], points[index])
        self.wrong_answers.append(example_of(question, response, shown, EXAMPLE_MAX_CHARACTERS))

    def _add_value(self, name: str, row: QuestionScore, baseline: int | None) -> None:
        self.columns.setdefault(name, Column()).append(row.score, row.weight, row.group)
        if baseline is not None:
            self.lengths.append(row.characters - baseline)


def _mean(values: Sequence[tuple[float | None, float]]) -> float | None:
    """Return the weighted mean without the values that are None."""
    known = [(value, weight) for value, weight in values if value is not None]
    total = sum(weight for _, weight in known)
    return sum(value * weight for value, weight in known) / total if total else None


def _characters(response: Response) -> int:
    return len(response.text) + sum(map(len, response.later_texts or ()))


def _baseline_characters(question: Question) -> int:
    """Return the length of the baseline's response; 0 if the references are no responses of a baseline."""
    has_baseline = question.task in ("AlpacaEval", "ArenaHard") and question.references
    return len(question.references[0]) if has_baseline and question.references else 0


def _difficulty(question: Question) -> float:
    return float(json.loads(question.data or "{}").get("difficulty", 0.0))
