"""Compare the values of two formulas with SymPy.

Source: ``symbolic_equal`` in ``evaluation/grader.py`` of QwenLM/Qwen2.5-Math (MIT). Its tests are tried in turn; a test
that raises is not passed.
"""

import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from math import isclose
from typing import Any

from fusionrun_stages.grading.qwen_mathematics.latex import parse_latex, parse_latex_extended
from fusionrun_stages.grading.qwen_mathematics.python_expression import parse_expression

_MATRIX_DIGITS = 3
"""Decimals to which the entries of two matrices must agree."""


def same_value(first: str, second: str, relative_tolerance: float) -> bool:
    """Return whether two formulas have the same value."""
    with warnings.catch_warnings():  # SymPy warns of numbers that call, such as in ``2(3)``
        warnings.simplefilter("ignore")
        a, b = _parse(first), _parse(second)
        tests: tuple[Callable[[], bool], ...] = (
            lambda: str(a) == str(b) or bool(a == b),
            lambda: _same_expression(a, b),
            lambda: bool(abs(a.lhs - a.rhs).equals(abs(b.lhs - b.rhs))),
            lambda: isclose(_float(b), _float(a), rel_tol=relative_tolerance),
            lambda: a.shape == b.shape and bool(_rounded(a).equals(_rounded(b))),
        )
        for test in tests:
            with suppress(Exception):  # SymPy raises many kinds
                if test():
                    return True
    return False


@lru_cache(maxsize=64)
def _parse(text: str) -> Any:
    r"""Return the value that the first parser reads, or the text. ``\\`` is read as ``\``, which is often meant."""
    for parser in (parse_latex, parse_expression, parse_latex_extended):
        for variant in dict.fromkeys((text.replace("\\\\", "\\"), text)):
            with suppress(Exception):
                return parser(variant)
    return text


def _same_expression(a: Any, b: Any) -> bool:
    from sympy import simplify

    if isinstance(b, str):
        # SymPy would evaluate it as Python code.
        raise TypeError("not an expression")
    return bool(a.equals(b)) or bool(simplify(a - b) == 0)


def _float(value: Any) -> float:
    from sympy import N

    if isinstance(value, str):
        raise TypeError("not an expression")
    return float(N(value))


def _rounded(matrix: Any) -> Any:
    return matrix.applyfunc(lambda entry: round(entry, _MATRIX_DIGITS))
