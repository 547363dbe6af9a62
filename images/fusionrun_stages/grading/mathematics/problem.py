"""Grade the responses to one problem.

The gold answer is read once. It must be right against itself: otherwise the prompt is at fault, and no response is
judged. A response over a limit of CPU time or memory is unknown, never wrong.
"""

import re
from typing import NamedTuple

from fusionrun_stages.grade import Grade, right, unknown, unusable, wrong
from fusionrun_stages.grading.mathematics.comparison import compare
from fusionrun_stages.grading.mathematics.limits import TimeUpError, limited
from fusionrun_stages.grading.mathematics.reading.answer import TEXT_MAX, read
from fusionrun_stages.grading.mathematics.reading.clean import clean
from fusionrun_stages.grading.mathematics.reading.values import Choice, Items, Quantity, Value, Words
from fusionrun_stages.grading.mathematics.response import RESPONSE_MAX, Final, find_final, strip_thinking

BOXED_INTEGER = re.compile(r"\\boxed\{(-?(?:0|[1-9][0-9]{0,17}))\}[.$\s]*(?:\\[\])][.\s]*)?")
"""A boxed integer at the end of a response: most answers end so, and no reading is needed."""
_QUOTED_MAX = 200
_SCALED = re.compile(r"[0-9](?:\\[,; ])? ?(?:\\(?:text|mathrm)\{ ?)?(?:[kKMB]|bn)\b")
_THOUSANDS = re.compile(r"(?<![0-9])[0-9]{1,3}(?:\.[0-9]{3})+(?![0-9])")
_PLAIN_NUMBER = re.compile(r"[\\$0-9.,:/% -]+")
_DIGITS = re.compile(r"[^0-9]")


class Problem(NamedTuple):
    """A gold answer and the responses to grade."""

    gold: str | None
    answers: list[str]


class _Gold(NamedTuple):
    text: str
    value: Value
    key: str
    integer: int | None


def grade_problem(problem: Problem) -> list[Grade]:
    """Grade all responses to one problem."""
    try:
        gold = limited(lambda: read_gold(problem.gold))
    except (TimeUpError, Exception):  # noqa: BLE001 (SymPy raises many kinds)
        gold = None
    if gold is None:
        quoted = repr(problem.gold)[:_QUOTED_MAX]
        return [unusable(f"its gold answer cannot be read with certainty: {quoted}")] * len(problem.answers)
    judged: dict[str, bool | None] = {}
    grades = {answer: _grade(gold, answer, judged) for answer in dict.fromkeys(problem.answers)}
    return [grades[answer] for answer in problem.answers]


def read_gold(gold: str | None) -> _Gold | None:
    """Read a gold answer; return None if no rule reads it with certainty, or if it is not right against itself.

    Source: GSM8K's answers end in ``#### 42`` (openai/grade-school-math).
    """
    if gold is None or len(gold) > RESPONSE_MAX:
        return None
    text = gold.rsplit("####", 1)[-1].strip()
    value = read(text)
    if value is None:
        return None
    integer = (
        int(value.value)
        if isinstance(value, Quantity) and value == Quantity(value.value) and _is_integer(value)
        else None
    )
    read_once = _Gold(text, value, _key(text), integer)
    final = find_final(strip_thinking(f"\\boxed{{{text}}}")[0])
    again = None if final is None else read(final.text)
    if again is None or final is None or final.doubtful or compare(value, again) is not True:
        return None
    return read_once


def _is_number(value: Value) -> bool:
    return isinstance(value, Quantity) and not value.symbols


def _is_integer(value: Quantity) -> bool:
    return getattr(value.value, "denominator", 0) == 1


def _grade(gold: _Gold, answer: str, judged: dict[str, bool | None]) -> Grade:
    tail = answer[-64:]
    place = tail.rfind("\\boxed{") if gold.integer is not None else -1
    if place >= 0 and answer.count("\\boxed") == 1 and "<" not in answer:
        boxed = BOXED_INTEGER.fullmatch(tail, place)
        if boxed is not None and not answer[: len(answer) - len(tail) + place].rstrip().endswith("-"):
            return right() if int(boxed[1]) == gold.integer else wrong()
    try:
        return limited(lambda: _compare(gold, answer, judged))
    except TimeUpError:
        return unknown("the grader used up its CPU time")
    except MemoryError:
        return unknown("the grader used up its memory")
    except Exception as error:  # noqa: BLE001 (SymPy raises many kinds)
        return unknown(f"the comparison failed: {type(error).__name__}")


def _compare(gold: _Gold, answer: str, judged: dict[str, bool | None]) -> Grade:
    response, thought = strip_thinking(answer[-RESPONSE_MAX:])
    final = find_final(response)
    if final is None:
        return _without_answer(gold, response, thought=thought)
    found = _judge(gold, final.text, judged)
    if final.doubtful:
        return unknown(f"it may be only a part of the answer: {final.text[:_QUOTED_MAX]!r}")
    if found is True:
        return right()
    is_part = not final.marked and not _is_number(gold.value) and _PLAIN_NUMBER.fullmatch(final.text)  # of ``x > 2``
    if found is False and not is_part and not _is_elsewhere(gold, final, judged):
        return wrong()
    return unknown(f"no rule decides it: {final.text[:_QUOTED_MAX]!r}")


def _without_answer(gold: _Gold, response: str, *, thought: bool) -> Grade:
    if thought:
        return unknown("it has no final answer after the model's thoughts")
    named = isinstance(gold.value, Words | Choice) and gold.text.casefold() in response.casefold()
    if named or re.search(r"\d", response):
        return unknown("no final answer is marked")
    return wrong("no final answer found")


def _judge(gold: _Gold, text: str, judged: dict[str, bool | None]) -> bool | None:
    """Compare one text with the gold answer. A text that no rule reads is right only if it is the same text."""
    if text not in judged:
        judged[text] = _judge_once(gold, text)
    return judged[text]


def _judge_once(gold: _Gold, text: str) -> bool | None:
    if len(text) > TEXT_MAX:
        return None
    value = read(text)
    key = _key(text)
    if value is None:
        return True if clean(text) == clean(gold.text) else None
    found = compare(gold.value, value)
    if found is False and (key == gold.key or _may_be_scaled(gold, text)):
        return None
    return found


def _may_be_scaled(gold: _Gold, text: str) -> bool:
    """Return whether a text may be the gold number: ``70k``, or ``1.234,5`` with the points of German."""
    if not _is_number(gold.value):
        return False
    if "," not in gold.text and _THOUSANDS.search(text) and _DIGITS.sub("", text) == _DIGITS.sub("", gold.text):
        return True
    return _SCALED.search(text.strip()) is not None


def _key(text: str) -> str:
    """Return the text without white space and braces, and with a point for a comma.

    Two texts with one key are not judged to differ: ``3,14`` can be one number or two.
    """
    return re.sub(r"[\s{}\\]", "", clean(text)).replace(",", ".").casefold() if len(text) <= TEXT_MAX else text


def _is_elsewhere(gold: _Gold, final: Final, judged: dict[str, bool | None]) -> bool:
    """Return whether the gold answer is among the other candidates, so that the wrong one may have been taken."""
    if isinstance(gold.value, Items):
        boxes = ", ".join(final.others)
        if len(final.others) > 1 and _judge(gold, boxes, judged) is not False:
            return True
    if final.marked and final.others and not final.text.startswith(final.others):
        return False
    others = [text for text in final.others if text != final.text]
    return not _has_boxes(final) and any(_judge(gold, text, judged) is True for text in others)


def _has_boxes(final: Final) -> bool:
    return final.marked and final.text in final.others
