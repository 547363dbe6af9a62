"""Compare what a program prints or returns with what the tests expect.

Notes
-----
Source: FuseEval, Code-Eval/LiveCodeBench/lcb_runner/evaluation/testing_util.py, ``run_test``. The rules are kept, with
what may surprise: numbers have a tolerance only if each is alone on its line, and negative integers have it, too.
"""

import json
import math
from collections.abc import Sequence
from typing import Any

RELATIVE_TOLERANCE, ABSOLUTE_TOLERANCE = 1e-5, 1e-8
"""Source: the defaults of ``numpy.allclose``, which the official code calls."""


def is_same_output(printed: str, expected: str) -> bool:
    """Compare the standard output by lines, without white space at both ends of a line."""
    lines = printed.splitlines()
    stripped = "\n".join(line.strip() for line in lines).strip()
    if expected.strip() in ("\n".join(lines).strip(), stripped):
        return True
    wanted = [line.strip() for line in expected.split("\n") if line]
    given = [line for line in lines if line]
    return wanted in (lines, given) or _are_close(given, wanted)


def _are_close(given: Sequence[str], wanted: Sequence[str]) -> bool:
    """Return whether every line is a number close to the expected one; positive integers are not close."""
    if all(a.isdigit() and b.isdigit() for a, b in zip(given, wanted, strict=False)):
        return False
    try:
        pairs = list(zip(map(float, given), map(float, wanted), strict=True))
    except ValueError:
        return False
    return all(_is_close(a, b) for a, b in pairs)


def _is_close(given: float, wanted: float) -> bool:
    if given == wanted:
        return True
    return math.isfinite(wanted) and abs(given - wanted) <= ABSOLUTE_TOLERANCE + RELATIVE_TOLERANCE * abs(wanted)


def is_same_result(result: Any, expected: Any) -> bool:
    """Compare the result of a function. Raise TypeError or ValueError for a result that JSON cannot contain.

    A tuple is a list; an expected value may be in a list of its own.
    """
    json.dumps(result)
    value = list(result) if isinstance(result, tuple) else result
    if value == expected:
        return True
    if not isinstance(expected, list) or not expected:
        return False
    if value == expected[0]:
        return True
    if not (isinstance(value, list) and value and isinstance(value[0], tuple)):
        return False
    return bool([list(item) for item in value] == expected[0])


def restore_keys(value: Any) -> Any:
    """Return the arguments or the expected value as the official code reads them from JSON.

    If the first item of a list, or an expected value itself, is a dictionary, it becomes the only item, with integers
    as keys.
    """
    first = value[0] if isinstance(value, list) and value else value
    if not isinstance(first, dict):
        return value
    try:
        return [{int(key): item for key, item in first.items()}]
    except ValueError:
        return value
