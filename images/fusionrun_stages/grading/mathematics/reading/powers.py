"""Powers, factorials and binomials, unless they are too large to compute."""

from typing import Any

import sympy

from fusionrun_stages.grading.mathematics.reading.tokens import NotReadError, TooLargeError

BITS_MAX = 20_000
"""Size of a power of integers; larger ones stay unread, since they would fill the memory."""
FACTORIAL_MAX = 2_000


def checked(value: Any) -> Any:
    """Return the value; raise NotReadError if it is not defined."""
    if value.has(sympy.nan, sympy.zoo):
        raise NotReadError("not defined")
    return value


def power(base: Any, exponent: Any) -> Any:
    """Return the power unless it is too large to compute."""
    if exponent.is_Rational and base.is_Rational:
        size = max(abs(int(base.p)), int(base.q)).bit_length()
        if abs(float(exponent)) * size > BITS_MAX and abs(base) != 1 and base != 0:
            raise TooLargeError("a large power")
        if base == 0 and exponent <= 0:
            raise NotReadError("a power of zero")
        return checked(base**exponent)
    large = exponent.is_number and exponent.is_finite and not abs(exponent.evalf(8)) <= BITS_MAX
    if large or (exponent.is_number and not exponent.is_finite):
        raise TooLargeError("a large power")
    return checked(base**exponent)


def factorial(value: Any) -> Any:
    """Return the factorial unless it is too large to compute."""
    if value.is_Integer and not 0 <= value <= FACTORIAL_MAX:
        raise TooLargeError("a large factorial")
    return sympy.factorial(value)


def binomial(top: Any, bottom: Any) -> Any:
    """Return the binomial coefficient unless it is too large to compute."""
    if (top.is_Integer and abs(top) > FACTORIAL_MAX) or (bottom.is_Integer and abs(bottom) > FACTORIAL_MAX):
        raise TooLargeError("a large binomial")
    return sympy.binomial(top, bottom)
