"""Logic puzzles and spatial questions: the answer is in bold.

Source: LiveBench 0.0.4, process_results/reasoning/*/utils.py.
"""

import re

from fusionrun_stages.grading.live_bench.boxed import last_boxed
from fusionrun_stages.grading.live_bench.rows import LiveBenchRow
from fusionrun_stages.grading.marks import Mark

# fmt: off
_WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)
# fmt: on
_NUMBERS = {str(number): word for number, word in enumerate(_WORDS)}
"""Word of each number up to 20."""
_ZEBRA_NUMBERS = frozenset("123456789")
"""Digits that a zebra puzzle accepts for the word."""
_SOLIDS = ("tetrahedra", "tetrahedron", "triangle", "square")
"""Answers that may stand in a longer phrase, such as ``two tetrahedra``."""
_SPATIAL_BOLDS = 3
"""Bold phrases at the end of a response to a spatial question that may be the answer."""
_STATEMENTS = 3
"""Yes or no answers to a question of web_of_lies_v2."""
_NO_BOLD = Mark(0.0, "it has no bold text", parsed=False)


def grade_web_of_lies(row: LiveBenchRow, text: str) -> Mark:
    """Grade three answers of yes or no in the last bold text."""
    bolds = re.findall(r"\*\*(.*?)\*\*", text)
    if not bolds:
        return _NO_BOLD
    last, expected = bolds[-1].lower(), row.ground_truth.lower()
    contained = last.count("yes") + last.count("no") == _STATEMENTS and expected in last
    return _mark(last == expected or contained, last)


def grade_zebra(row: LiveBenchRow, text: str) -> Mark:
    """Grade the last word between triple asterisks, or the last word of the response if there is none."""
    words = re.findall(r"\*\*\*(\w+)\*\*\*", text) or re.findall(r"\b\w+\b", text)
    if not words:
        return Mark(0.0, "it has no word", parsed=False)
    word, expected = words[-1], row.ground_truth.lower()
    spellings = {word.lower(), f"{word.lower()} movies"}
    if word in _ZEBRA_NUMBERS:
        spellings.add(_NUMBERS[word])
    return _mark(expected in spellings, word)


def grade_spatial(row: LiveBenchRow, text: str) -> Mark:
    """Grade the last three bold phrases: one is the answer, or the answer as a word, or a phrase with the solid."""
    expected = row.ground_truth.strip().lower()
    phrases = [phrase.strip().lower() for phrase in re.findall(r"\*\*([^\*]+)\*\*", text)[-_SPATIAL_BOLDS:]]
    box = last_boxed(text)
    right = box == row.ground_truth or any(
        phrase in (expected, _NUMBERS.get(expected)) or _names_solid(phrase, expected) for phrase in phrases
    )
    if not phrases and box is None:
        return _NO_BOLD
    return _mark(right, phrases[-1] if phrases else str(box))


def _names_solid(phrase: str, expected: str) -> bool:
    # The limit of the length accepts "equilateral triangle" and refuses "circle square triangle".
    return expected in _SOLIDS and expected in phrase and len(phrase) < 2 * len(expected) + 5


def grade_house_traversal(row: LiveBenchRow, text: str) -> Mark:
    """Grade names in order: the last bold texts are the names, or the last one contains them."""
    found = re.findall(r"(\*{2,})(.*?)\1", text.lower())
    if not found:
        return _NO_BOLD
    names = row.ground_truth.lower().split(" ")
    last = [set(pair) for pair in found[-len(names) :]]
    if len(last) == len(names) and all(name in texts for name, texts in zip(names, last, strict=True)):
        return Mark(1.0)
    positions = [found[-1][1].find(name) for name in names]
    increasing = all(before < after for before, after in zip([-1, *positions], positions, strict=False))
    return _mark(increasing, found[-1][1])


def _mark(right: bool, answer: str) -> Mark:  # noqa: FBT001 - there is one condition
    return Mark(1.0) if right else Mark(0.0, f"the answer is {answer[:200]!r}")
