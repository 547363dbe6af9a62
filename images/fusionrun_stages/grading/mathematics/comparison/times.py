"""Compare times of day, ratios and numbers with a base."""

import re
from fractions import Fraction

from fusionrun_stages.grading.mathematics.comparison import numeric
from fusionrun_stages.grading.mathematics.comparison.rules import rule
from fusionrun_stages.grading.mathematics.comparison.several import all_of
from fusionrun_stages.grading.mathematics.reading.values import Based, Clock, Quantity, Ratio, Value, to_sympy

_HALF_DAY, _ONE = 720, 780
"""Minutes of half a day, and at one o'clock in the afternoon."""


@rule((Based,), (Based,))
def _bases(gold: Based, answer: Based) -> bool | None:
    if gold.base == answer.base:
        return gold.digits == answer.digits
    return None if int(gold.digits, gold.base) == int(answer.digits, answer.base) else False


@rule((Based,), (Quantity,))
def _based(gold: Value, answer: Value) -> bool | None:
    """Compare with a number without a base: the same digits, and the same value, are a doubt."""
    based, plain = (gold, answer) if isinstance(gold, Based) else (answer, gold)
    assert isinstance(based, Based)
    assert isinstance(plain, Quantity)
    value = int(based.digits, based.base)
    if based.base == 10:
        return bool(plain.value == value)
    return None if str(plain.value) == based.digits or plain.value == value else False


@rule((Clock,), (Clock,))
def _clocks(gold: Clock, answer: Clock) -> bool | None:
    """Compare times of day; ``9:10`` and ``18:20`` may also be one ratio."""
    known = gold.half == answer.half or ("" in {gold.half, answer.half} and max(gold.minutes, answer.minutes) >= _ONE)
    if known and gold.minutes == answer.minutes:
        return True
    if gold.half != answer.half:
        return None if (gold.minutes - answer.minutes) % _HALF_DAY == 0 else False
    first, second = (_terms(clock) for clock in (gold, answer))
    possible = not gold.half and all(term.value for term in first.terms + second.terms)
    return None if possible and _ratios(first, second) is True else False


def _terms(clock: Clock) -> Ratio:
    return Ratio(tuple(Quantity(Fraction(part)) for part in re.findall("[0-9]+", clock.text)))


@rule((Ratio,), (Ratio,))
def _ratios(gold: Ratio, answer: Ratio) -> bool | None:
    """Compare by cross products."""
    if len(gold.terms) != len(answer.terms):
        return False
    first, second = gold.terms[0], answer.terms[0]
    return all_of(
        numeric.compare_quantities(_product(a, second), _product(b, first))
        for a, b in zip(gold.terms[1:], answer.terms[1:], strict=True)
    )


def _product(a: Quantity, b: Quantity) -> Quantity:
    return Quantity(to_sympy(a.value) * to_sympy(b.value))


@rule((Ratio,), (Quantity,))
def _ratio_and_number(gold: Value, answer: Value) -> bool | None:
    """Leave a doubt between ``3:4`` and three quarters."""
    ratio, number = (gold, answer) if isinstance(gold, Ratio) else (answer, gold)
    assert isinstance(ratio, Ratio)
    assert isinstance(number, Quantity)
    if len(ratio.terms) != 2 or number.symbols:
        return False
    return None if numeric.compare_quantities(_product(number, ratio.terms[1]), ratio.terms[0]) is not False else False


@rule((Clock,), (Ratio,))
def _clock_and_ratio(gold: Value, answer: Value) -> bool | None:
    """Compare as ratios: ``4:10`` looks like a time of day."""
    clock, ratio = (gold, answer) if isinstance(gold, Clock) else (answer, gold)
    assert isinstance(clock, Clock)
    assert isinstance(ratio, Ratio)
    if clock.half:
        return False
    return _ratios(_terms(clock), ratio)


@rule((Clock,), (Quantity,))
def _clock_and_number(gold: Value, answer: Value) -> bool | None:
    """Leave a doubt if the time can be a duration, or if the number can be the hour of a full hour."""
    clock, number = (gold, answer) if isinstance(gold, Clock) else (answer, gold)
    assert isinstance(clock, Clock)
    assert isinstance(number, Quantity)
    if not isinstance(number.value, Fraction):
        return False
    seconds = clock.minutes * 60
    factors = [number.unit.factor] if number.unit is not None and number.unit.dimension == "time" else [1, 60, 3600]
    close = any(number.value * factor in {seconds, seconds % (60 * _HALF_DAY), seconds / 60} for factor in factors)
    hour = int(re.findall("[0-9]+", clock.text)[0])
    return None if close or (number.value == hour and clock.minutes % 60 == 0) else False
