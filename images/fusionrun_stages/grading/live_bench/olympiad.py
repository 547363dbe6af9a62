"""Proofs of the IMO and the USAMO with missing formulas: the order of the formulas' numbers.

Source: LiveBench 0.0.4, process_results/math/olympiad/utils.py.
"""

from itertools import dropwhile, takewhile

from fusionrun_stages.grading.live_bench.rows import LiveBenchRow, UngradableError
from fusionrun_stages.grading.marks import Mark

_DIGITS_MAX = 18
"""Longer numbers are no identifiers of formulas; Python refuses to convert thousands of digits."""


def grade_order(row: LiveBenchRow, text: str) -> Mark:
    """Grade a list of numbers: 1 less the edit distance divided by the length of the longer list."""
    from rapidfuzz.distance import Levenshtein

    try:
        expected = [int(number) for number in row.ground_truth.split(",")]
    except ValueError:
        raise UngradableError(f"its ground_truth {row.ground_truth!r} is not a list of integers") from None
    found = _numbers(text)
    distance = Levenshtein.distance(found, expected)
    detail = f"{distance} edits to the right order" if distance else ""
    return Mark(1 - distance / max(len(found), len(expected)), detail, parsed=bool(found))


def _numbers(text: str) -> list[int]:
    """Return the numbers of the list after the last ``Answer``.

    The list ends after the first item, from the second on, that has more than a number.
    """
    numbers = []
    for index, item in enumerate(part.strip() for part in text.rpartition("Answer")[2].split(",")):
        digits = "".join(takewhile(str.isdigit, dropwhile(lambda c: not c.isdigit(), item)))
        # isdigit() accepts superscripts and subscripts, which are no numbers.
        if digits.isdecimal() and len(digits) <= _DIGITS_MAX:
            numbers.append(int(digits))
        if index and len(digits) < len(item):
            break
    return numbers
