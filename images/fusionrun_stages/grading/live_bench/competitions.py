"""AMC, SMC and AIME problems.

Source: LiveBench 0.0.4, process_results/math/math_competitions/utils.py.
"""

import re

from fusionrun_stages.grading.live_bench.boxed import last_boxed
from fusionrun_stages.grading.live_bench.rows import LiveBenchRow, UngradableError
from fusionrun_stages.grading.marks import Mark

_REPEATS = 4
"""The prompt asks for the letter five times in a row; four are enough."""
_TAIL = 20
"""Characters at the end of the response, besides the answer's own, that may contain the answer."""
_NO_VALUE = "FAILURE"
"""Stands for the value of a choice that the prompt does not have in the usual form; LiveBench searches for it, too."""
_CHOICE = re.compile(r"\\textbf{\(([A-E])\)\s?}(.*?)(?:\\qquad|\$)")


def grade_choice(row: LiveBenchRow, text: str) -> Mark:
    """Grade a letter: four times in a row, or in the last box, or the value of its choice near the end."""
    letter = row.ground_truth
    if letter not in tuple("ABCDE"):
        raise UngradableError(f"its ground_truth is {letter!r}, not a letter from A to E")
    box = last_boxed(text)
    value = _value_of(letter, row.prompt)
    if letter * _REPEATS in text or box == letter or value in text[-_TAIL - len(value) :]:
        return Mark(1.0)
    answered = box is not None or any(other * _REPEATS in text for other in "ABCDEF")
    return Mark(0.0, f"neither {letter * _REPEATS} nor the choice's value at the end", parsed=answered)


def _value_of(letter: str, prompt: str) -> str:
    choices = {found: value.strip() for found, value in _CHOICE.findall(prompt)}
    return (choices.get(letter) or _NO_VALUE).strip().strip("$").strip("~")


def grade_aime(row: LiveBenchRow, text: str) -> Mark:
    """Grade a number: it is among the last 20 characters."""
    tail = text[-_TAIL:]
    if row.ground_truth in tail:
        return Mark(1.0)
    return Mark(0.0, f"{row.ground_truth} is not in {tail!r}", parsed=any(c.isdigit() for c in tail))
