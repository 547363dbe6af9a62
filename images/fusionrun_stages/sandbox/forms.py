"""The forms of a prompt's tests: Python, and pairs of an input and its output.

A pair is a JSON object or Python dictionary ``{"input": ..., "output": ...}``, a list of them, or the form of APPS and
TACO, ``{"inputs": [...], "outputs": [...], "fn_name": ...}``. Without ``fn_name``, the whole program reads the input
from its standard input and prints the output. With it, the function is called with the inputs. Source: the READMEs of
codeparrot/apps and BAAI/TACO.
"""

import ast
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

FLOAT_TOLERANCE = 1e-6
"""Maximum error, relative or absolute, of a number with a decimal point or an exponent in the expected output."""
_DECIMAL = re.compile(r"[+-]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][+-]?\d+)?")
_FUNCTION = """
import solution
try:
    _function = solution.Solution().{name}
except AttributeError:
    _function = solution.{name}
_result = _function(*{arguments!r})
_result = [*_result] if type(_result) is tuple else _result
assert _result in {expected!r}
"""
"""A class ``Solution`` is the problem site's form. A set's expected value may be wrapped in a list; tuples are lists in
JSON."""


class Pair(NamedTuple):
    """A standard input, and the standard output that a right program prints."""

    stdin: str
    stdout: str


class Tests(NamedTuple):
    """A prompt's tests by form."""

    python: list[str]
    pairs: list[Pair]


def parse(tests: Iterable[str]) -> Tests:
    """Split tests by form. Raise ValueError for pairs that cannot be used."""
    found = Tests([], [])
    for test in tests:
        cases = _read_cases(test)
        if cases is None:
            found.python.append(test)
        for case in cases or ():
            name = case.get("fn_name")
            for given, expected in _items(case):
                if name is None:
                    found.pairs.append(Pair(_join_lines(given), _join_lines(expected)))
                else:
                    found.python.append(_make_call(name, given, expected))
    return found


def _read_cases(test: str) -> list[dict[str, Any]] | None:
    """Return the dictionaries in a test; None if it is Python."""
    if not test.lstrip().startswith(("{", "[")):
        return None
    try:
        value = json.loads(test)
    except (ValueError, RecursionError):
        try:
            value = ast.literal_eval(test.strip())
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            return None
    cases = value if isinstance(value, list) else [value]
    is_pair = [isinstance(case, dict) and {"input", "output"} <= case.keys() for case in cases]
    is_set = [isinstance(case, dict) and {"inputs", "outputs"} <= case.keys() for case in cases]
    return cases if cases and all(a or b for a, b in zip(is_pair, is_set, strict=True)) else None


def _items(case: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    if "inputs" not in case:
        yield case["input"], case["output"]
        return
    inputs, outputs = case["inputs"], case["outputs"]
    if not isinstance(inputs, list) or not isinstance(outputs, list) or len(inputs) != len(outputs):
        raise ValueError("inputs and outputs are not two lists of the same length")
    yield from zip(inputs, outputs, strict=True)


def _join_lines(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"an input or output is a {type(value).__name__}, not text")


def _make_call(name: Any, arguments: Any, expected: Any) -> str:
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"fn_name is {name!r}, not a name")
    if isinstance(arguments, str):
        arguments = [json.loads(line) for line in arguments.splitlines() if line.strip()]
    if not isinstance(arguments, list):
        raise ValueError("inputs of a function are not a list of arguments")  # noqa: TRY004 (of a data set)
    accepted = [expected, *expected[:1]] if isinstance(expected, list) else [expected]
    return _FUNCTION.format(name=name, arguments=arguments, expected=accepted)


def is_same_output(expected: str, printed: str) -> bool:
    """Compare two outputs by lines, without white space at the end of a line and empty lines at the end.

    In a line with a decimal number, words are compared, and decimal numbers with a tolerance.
    """
    first, second = _lines(expected), _lines(printed)
    return len(first) == len(second) and all(map(_is_same_line, first, second))


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]


def _is_same_line(expected: str, printed: str) -> bool:
    if expected == printed:
        return True
    words, others = expected.split(), printed.split()
    if len(words) != len(others) or not any(map(_DECIMAL.fullmatch, words)):
        return False
    return all(map(_is_same_word, words, others))


def _is_same_word(expected: str, printed: str) -> bool:
    if expected == printed:
        return True
    if not _DECIMAL.fullmatch(expected) or len(printed) > 400:  # noqa: PLR2004 (no number is longer)
        return False
    try:
        a, b = float(expected), float(printed)
    except ValueError:
        return False
    return abs(a - b) <= FLOAT_TOLERANCE * max(1.0, abs(a))
