"""Compare quantities with units and percent signs."""

from fractions import Fraction

from fusionrun_stages.grading.mathematics.comparison import numeric
from fusionrun_stages.grading.mathematics.comparison.rules import rule
from fusionrun_stages.grading.mathematics.reading.units import UNITS, Unit
from fusionrun_stages.grading.mathematics.reading.values import Quantity


@rule((Quantity,), (Quantity,))
def compare_quantities(gold: Quantity, answer: Quantity) -> bool | None:
    """Compare with units and percent signs.

    A unit without its partner is ignored, and so is a word that is no unit. Units of one dimension are converted. If
    only a conversion makes the values equal and one side has no unit, or if the dimensions differ, it is a doubt.
    """
    same = numeric.compare_quantities(gold, answer)
    if gold.percent != answer.percent:
        if same is not True:
            return numeric.compare_quantities(_fraction(gold), _fraction(answer))
        # 28 can stand for 28 %, but half a percent is hardly 0.5.
        return None if isinstance(gold.value, Fraction) and 0 < abs(gold.value) < 1 else True
    one, other = (unit if unit is not None and unit.dimension else None for unit in (gold.unit, answer.unit))
    if one is None and other is None:
        return same
    if one is not None and other is not None:
        return _with_units(gold, answer, one, other)
    return _with_one_unit(gold, answer) if same is False else same


def _with_units(gold: Quantity, answer: Quantity, one: Unit, other: Unit) -> bool | None:
    if one.dimension != other.dimension:
        return None
    scale = other.factor / one.factor
    return numeric.compare_quantities(gold, answer if scale == 1 else _scaled(answer, scale))


def _with_one_unit(gold: Quantity, answer: Quantity) -> bool | None:
    """Return a doubt if the values would be equal in another unit of the dimension, else wrong."""
    unit = gold.unit if gold.unit is not None and gold.unit.dimension else answer.unit
    assert unit is not None
    if "/" in unit.dimension or unit.dimension == "angle":
        return None
    base, _, power = unit.dimension.partition("^")
    for one in UNITS.values():
        if one.dimension == base:
            scale = unit.factor / one.factor ** int(power or 1)
            pair = (_scaled(gold, scale), answer) if unit is gold.unit else (gold, _scaled(answer, scale))
            if numeric.compare_quantities(*pair) is not False:
                return None
    return False


def _fraction(quantity: Quantity) -> Quantity:
    if not quantity.percent:
        return quantity
    if quantity.places is None and isinstance(quantity.value, Fraction) and quantity.value.denominator == 1:
        return Quantity(quantity.value / 100, 2, len(str(abs(quantity.value.numerator))))
    return _scaled(quantity, Fraction(1, 100))


def _scaled(quantity: Quantity, factor: Fraction) -> Quantity:
    import sympy

    value = quantity.value
    exact = value * (factor if isinstance(value, Fraction) else sympy.Rational(factor.numerator, factor.denominator))
    if quantity.places is None or set(str(factor.numerator * factor.denominator)) - {"0", "1"}:
        return Quantity(exact)
    places = quantity.places
    while factor < 1:
        factor, places = factor * 10, places + 1
    while factor > 1:
        factor, places = factor / 10, places - 1
    return Quantity(exact, max(0, places), quantity.significant)
