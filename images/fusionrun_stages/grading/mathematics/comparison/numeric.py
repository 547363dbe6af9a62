"""Compare numbers and formulas: True if they are equal, False if they differ, None if a doubt is left.

Exact numbers are compared exactly. Others are computed to many digits, and the difference is relative to their size:
math-verify rounds to six places, so that all tiny numbers are equal.
"""

import re
from fractions import Fraction
from itertools import permutations
from typing import Any

from fusionrun_stages.grading.mathematics.reading.expression import LOG_BASE
from fusionrun_stages.grading.mathematics.reading.values import Quantity, to_sympy

DIGITS = 40
SAME = Fraction(1, 10**30)
"""Relative difference of equal values, computed to ``DIGITS`` digits."""
FLOAT = Fraction(1, 10**12)
FLOAT_DIGITS = 14
"""A decimal with so many digits is the text of a binary floating-point number: its last digits are noise."""
ROUNDED_DIGITS = 6
"""Significant digits of a decimal that stands for the fraction or root that it is rounded from. Source: math-verify's
default, ``float_rounding=6``."""
DOUBT_DIGITS = 2
"""With fewer digits than ``ROUNDED_DIGITS``, but at least these, a rounded value is a doubt."""
_CONSTANT = re.compile(r"[CKABDk]|[CcKk]_\{?\d\}?")
_INDEXED = re.compile(r"[CcKk]_\{?\d")
"""Names of constants of integration, which may have any name."""
_POINTS = ((37, 29), (-71, 53), (113, 97), (-19, 61), (41, 83))
"""Points at which formulas are compared: fractions without a common pattern."""


def compare_quantities(gold: Quantity, answer: Quantity) -> bool | None:
    """Compare the values; units and percent signs are the caller's."""
    a, b = gold.value, answer.value
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return True if a == b else _compare_rounded(gold, answer, a, b)
    a, b = to_sympy(a), to_sympy(b)
    if a == b:
        return True
    symbols = (a.free_symbols | b.free_symbols) - {LOG_BASE}
    if LOG_BASE in a.free_symbols | b.free_symbols:
        return _compare_logarithms(a, b)
    if symbols:
        return compare_formulas(a, b)
    return _compare_constants(gold, answer, a, b)


def _compare_constants(gold: Quantity, answer: Quantity, a: Any, b: Any) -> bool | None:
    if not (a.is_finite and b.is_finite):
        return False if a.is_infinite or b.is_infinite else None
    x, y = evaluate(a), evaluate(b)
    if x is None or y is None:
        return None
    if is_close(x, y):
        return True
    if x.is_real and y.is_real:
        return _compare_rounded(gold, answer, _fraction(x), _fraction(y))
    return False


def _fraction(value: Any) -> Fraction:
    sign, mantissa, exponent, _ = value._mpf_ if hasattr(value, "_mpf_") else (0, 0, 0, 0)
    if not hasattr(value, "_mpf_"):
        return Fraction(int(value.p), int(value.q))
    size = Fraction(int(mantissa)) * (Fraction(2) ** max(-4000, min(4000, int(exponent))))
    return -size if sign else size


def _compare_rounded(gold: Quantity, answer: Quantity, a: Fraction, b: Fraction) -> bool | None:
    """Compare two different values, of which one may be the other, rounded."""
    if max(gold.significant, answer.significant) >= FLOAT_DIGITS and abs(a - b) <= FLOAT * max(abs(a), abs(b)):
        return True
    for coarse, fine, rounded, exact in ((answer, gold, b, a), (gold, answer, a, b)):
        if coarse.places is None or (fine.places is not None and fine.places <= coarse.places):
            continue
        if abs(rounded - exact) * 2 * 10**coarse.places > 1 or coarse.significant < DOUBT_DIGITS:
            continue
        if fine.places is None and coarse.significant >= ROUNDED_DIGITS:
            return True
        if fine.places is not None and coarse is answer:
            return False  # the gold answer says how many digits are wanted
        return None
    return False


def evaluate(value: Any) -> Any:
    """Return the number to ``DIGITS`` digits, or None if it is no number."""
    found = value.evalf(DIGITS, maxn=10 * DIGITS)
    if not found.is_number or found.is_finite is False or found.has(*_undefined()):
        return None
    real, imaginary = found.as_real_imag()
    if not (real.is_Number and imaginary.is_Number):
        return None
    return real if imaginary == 0 else found


def _undefined() -> tuple[Any, ...]:
    import sympy

    return sympy.nan, sympy.zoo, sympy.oo


def is_close(x: Any, y: Any) -> bool:
    """Return whether two evaluated numbers are equal but for rounding."""
    import sympy

    size = max(abs(x), abs(y))
    return bool(abs(x - y) <= size * sympy.Rational(SAME.numerator, SAME.denominator)) or bool(
        size < sympy.Float("1e-300")
    )


def _compare_logarithms(a: Any, b: Any) -> bool | None:
    r"""Compare ``\log`` without a base: with one on both sides any base is as good; else it is a doubt."""
    import sympy

    def under(base: Any) -> bool | None:
        return compare_formulas(a.subs(LOG_BASE, base), b.subs(LOG_BASE, base))

    found = [under(base) for base in (sympy.Integer(10), sympy.E, sympy.Rational(17, 5))]
    if all(one is True for one in found):
        return True
    return False if all(one is False for one in found) else None


def compare_formulas(a: Any, b: Any) -> bool | None:
    """Compare at several points: formulas that agree at all of them to 30 digits are equal."""
    symbols = sorted(a.free_symbols | b.free_symbols, key=str)
    if a.free_symbols != b.free_symbols:
        if _agree([_at(a, b, symbols, shift) for shift in range(len(_POINTS))]) is True:
            return True
        return None if _is_renamed(a, b) else False
    found = _agree([_at(a, b, symbols, shift) for shift in range(len(_POINTS))])
    return None if found is False and _is_renamed(a, b) else found


def _is_renamed(a: Any, b: Any) -> bool:
    """Return whether two formulas may be equal but for the name of their only variable, or of constants."""
    names = [formula.free_symbols for formula in (a, b)]
    if len(names[0]) == len(names[1]) == 1:
        own = [list(one) for one in names]
    else:
        own = [[s for s in one if s not in other or _INDEXED.match(s.name)] for one, other in (names, names[::-1])]
        if not all(_CONSTANT.fullmatch(symbol.name) for symbol in own[0] + own[1]):
            return False
    if not 0 < len(own[0]) == len(own[1]) <= 3:
        return False
    for order in permutations(own[0]):
        renamed = b.subs(dict(zip(own[1], order, strict=True)), simultaneous=True)
        symbols = sorted(a.free_symbols | renamed.free_symbols, key=str)
        if _agree([_at(a, renamed, symbols, shift) for shift in range(len(_POINTS))]) is not False:
            return True
    return False


def _at(a: Any, b: Any, symbols: list[Any], shift: int) -> bool | None:
    point = points(symbols, shift)
    x, y = evaluate(a.subs(point)), evaluate(b.subs(point))
    return None if x is None or y is None else is_close(x, y)


def points(symbols: list[Any], shift: int) -> dict[Any, Any]:
    """Return a value for each symbol."""
    import sympy

    count = len(_POINTS)
    return {
        symbol: sympy.Rational(*_POINTS[(n + shift) % count]) + sympy.Rational(n * (shift + 1), 7)
        for n, symbol in enumerate(symbols)
    }


def _agree(found: list[bool | None]) -> bool | None:
    known = [one for one in found if one is not None]
    if len(known) < 2 or len(set(known)) > 1:
        return None
    return known[0]


def is_multiple(a: Any, b: Any) -> tuple[bool | None, int]:
    """Return whether ``a = 0`` and ``b = 0`` are one equation (a constant times the other), and the constant's sign."""
    symbols = sorted(a.free_symbols | b.free_symbols, key=str)
    if a.free_symbols != b.free_symbols:
        return False, 0
    quotients = []
    for shift in range(len(_POINTS)):
        point = points(symbols, shift)
        x, y = evaluate(a.subs(point)), evaluate(b.subs(point))
        if x is not None and y is not None and x != 0 and y != 0:
            quotients.append(evaluate(x / y))
    if len(quotients) < 3 or None in quotients:
        return None, 0
    first = quotients[0]
    same = all(is_close(first, other) for other in quotients[1:])
    return same, (1 if first.is_positive else -1)
