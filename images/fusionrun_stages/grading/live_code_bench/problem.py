"""The tests of a problem, in ``Question.data``: ``{"fn_name", "tests": [{"input", "output", "testtype"}]}``."""

import json
from typing import Any, NamedTuple

from fusionrun_stages.grading.live_code_bench.outputs import restore_keys


class Case(NamedTuple):
    """An input, and the expected output: of a program as texts, of a function as values."""

    given: Any
    expected: Any


class Problem(NamedTuple):
    """The tests of a problem."""

    function: str | None
    """The function, or the method of class ``Solution``, that is called. None: the program reads the input."""
    tests: list[Case]
    partial_solution: str | None = None
    """The beginning of the program, which the response does not contain."""


def read_problem(data: str | None) -> Problem:
    """Return the problem. Raise ValueError if its tests cannot be used."""
    row = json.loads(data or "{}")
    tests = row.get("tests") if isinstance(row, dict) else None
    if not isinstance(tests, list) or not tests:
        raise ValueError("it has no tests")
    function, beginning = row.get("fn_name"), row.get("partial_solution")
    for name, value in (("fn_name", function), ("partial_solution", beginning)):
        if value is not None and not isinstance(value, str):
            raise ValueError(f"its {name} is {value!r}, not a text")
    return Problem(function or None, [_read_test(test, function) for test in tests], beginning)


def _read_test(test: Any, function: str | None) -> Case:
    given, expected = (test.get("input"), test.get("output")) if isinstance(test, dict) else (None, None)
    if not isinstance(given, str) or not isinstance(expected, str):
        raise ValueError("the input and the output of a test are not texts")  # noqa: TRY004 (of a data set)
    if not function:
        return Case(given, expected)
    arguments = [json.loads(line) for line in given.split("\n")]
    return Case(restore_keys(arguments), restore_keys(json.loads(expected)))
