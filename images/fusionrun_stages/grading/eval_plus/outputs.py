"""Compare an output with that of the benchmark's solution, by the rules of the task.

Notes
-----
Source: evalplus 0.3.1, ``evalplus.eval.unsafe_execute`` and ``evalplus.eval._special_oracle``.
"""

import math
from typing import Any

from fusionrun_stages.grading.eval_plus.closeness import all_close

FLOAT_TOLERANCE = 1e-6
"""Absolute tolerance for floats, if the task has none."""
AS_SETS = frozenset({
    "similar_elements", "find_char_long", "common_in_nested_lists", "extract_singly", "larg_nnum",
    "intersection_array", "find_dissimilar", "Diff",
})  # fmt: skip
"""Functions of MBPP whose lists are compared as sets."""
WHETHER_FOUND = frozenset({"check_str", "text_match_three", "text_starta_endb"})
"""Functions of MBPP that return a match: only whether there is one is compared."""


class Comparison:
    """The comparison of the outputs of one program, in the order of the inputs."""

    def __init__(self, task_id: str, entry_point: str, tolerance: float) -> None:
        self._is_mbpp = task_id.startswith("Mbpp")
        self._name = entry_point
        self._tolerance = tolerance

    def is_right(self, output: Any, expected: Any, arguments: tuple[Any, ...]) -> bool:
        """Return whether an output is right. It may raise any exception, and the output is then wrong.

        After the first expected float, all further numbers have a tolerance, as in the official code.
        """
        if not self._is_mbpp and self._name == "find_zero":
            (coefficients,) = arguments
            return abs(_polynomial(coefficients, output)) <= self._tolerance
        same = self._is_same(output, expected, arguments)
        if self._tolerance == 0 and is_floats(expected):
            self._tolerance = FLOAT_TOLERANCE
        if same or self._tolerance == 0:
            return same
        if type(output) is not type(expected):
            return False
        if isinstance(expected, list | tuple) and len(output) != len(expected):
            return False
        return all_close(output, expected, self._tolerance)

    def _is_same(self, output: Any, expected: Any, arguments: tuple[Any, ...]) -> bool:
        if self._is_mbpp and self._name in AS_SETS:
            return set(output) == set(expected)
        if self._is_mbpp and self._name in WHETHER_FOUND:
            return bool(output == expected if isinstance(output, bool) else expected == (output is not None))
        if output == expected:
            return True
        return self._is_mbpp and self._is_other_reading(output, arguments)

    def _is_other_reading(self, output: Any, arguments: tuple[Any, ...]) -> bool:
        """Return whether an output is right by another reading of an ambiguous text of MBPP."""
        match self._name:
            case "are_equivalent":
                return True
            case "sum_div":
                return bool(output == 0)
            case "surface_Area":
                return bool(abs(output - _pyramid_surface(*arguments)) <= self._tolerance)
            case "digit_distance_nums":
                return bool(output == _digit_distance(*arguments))
            case _:
                return False


def is_floats(value: Any) -> bool:
    """Return whether a value is a float, or a list or tuple of floats only."""
    if isinstance(value, list | tuple):
        return bool(value) and all(isinstance(item, float) for item in value)
    return isinstance(value, float)


def _polynomial(coefficients: list[float], x: float) -> float:
    return sum(coefficient * math.pow(x, power) for power, coefficient in enumerate(coefficients))


def _pyramid_surface(base: float, height: float) -> int:
    """Return the surface of a square pyramid by its perpendicular height."""
    return round(base**2 + 2 * base * math.hypot(base / 2, height))


def _digit_distance(first: int, second: int) -> int:
    """Return the sum of the differences of the digits, the shorter number with zeros in front."""
    size = max(len(str(first)), len(str(second)))
    digits = zip(str(first).zfill(size), str(second).zfill(size), strict=True)
    return sum(abs(int(a) - int(b)) for a, b in digits)
