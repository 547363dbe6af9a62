"""Compare an answer with the gold answer: True if it is right, False if it is wrong, None if a doubt is left."""

import re
from collections.abc import Sequence
from fractions import Fraction

from fusionrun_stages.grading.mathematics import numeric
from fusionrun_stages.grading.mathematics.reading import as_region
from fusionrun_stages.grading.mathematics.values import (
    Based,
    Choice,
    Clock,
    Equation,
    Items,
    Labelled,
    Matrix,
    Quantity,
    Ratio,
    Region,
    Value,
    Words,
    Written,
)

_MATCHED_MAX = 20
"""Values of a list in any order: each is compared with each."""
_OPPOSITES = (frozenset({"yes", "no"}), frozenset({"true", "false"}), frozenset({"even", "odd"}))
_COORDINATES = frozenset({"xy", "xyz", "ab", "abc", "mn", "pq"})
_NOTHING = frozenset({"no solution", "no solutions", "there is no solution", "there are no solutions", "no real solution",
                      "no real solutions", "empty set", "无解", "空集"})  # fmt: skip


def compare(gold: Value, answer: Value) -> bool | None:  # noqa: PLR0911, PLR0912 (one case per pair of kinds)
    """Compare two values."""
    match gold, answer:
        case Quantity(), Quantity():
            return compare_quantities(gold, answer)
        case Labelled(), _:
            return _labelled(gold, answer)
        case _, Labelled():
            return _labelled(answer, gold)
        case Choice(), _:
            return _choice(gold, answer)
        case _, Choice(rest=rest):
            return None if rest is None or compare(gold, rest) is not True else True
        case Items(), Items():
            return _items(gold, answer)
        case (Region(), _) | (_, Region()):
            return _regions(gold, answer)
        case Matrix(), Matrix():
            return _matrices(gold, answer)
        case Equation(), Equation():
            return _equations(gold, answer)
        case Based(), Based():
            if gold.base != answer.base:
                return None if int(gold.digits, gold.base) == int(answer.digits, answer.base) else False
            return gold.digits == answer.digits
        case (Based(), Quantity()) | (Quantity(), Based()):
            return _based(gold, answer)
        case (Clock(), _) | (_, Clock()) | (Ratio(), _) | (_, Ratio()):
            return _times(gold, answer)
        case Words(), Words():
            return compare_words(gold.text, answer.text)
        case (Words(), _) | (_, Words()):
            return _words(gold, answer)
        case Written(), Written():
            return True if gold == answer else None
        case (Written(), _) | (_, Written()):
            return None
        case (Items(), Quantity()) | (Quantity(), Items()):
            return _one_of_several(gold, answer)
        case (Matrix(), Items()) | (Items(), Matrix()):
            return None
        case (Equation(), _) | (_, Equation()):
            return None
    return False


def compare_quantities(gold: Quantity, answer: Quantity) -> bool | None:
    """Compare with units and percent signs.

    A unit without its partner is ignored, and so is a word that is no unit. Units of one dimension are converted. If
    only a conversion makes the values equal and one side has no unit, or if the dimensions differ, it is a doubt.
    """
    same = numeric.compare_quantities(gold, answer)
    if gold.percent != answer.percent:
        return True if same is True else numeric.compare_quantities(_fraction(gold), _fraction(answer))
    one, other = gold.unit, answer.unit
    if one is None and other is None:
        return same
    if one is not None and other is not None and one.dimension and other.dimension:
        if one.dimension != other.dimension:
            return None
        if one.factor == other.factor:
            return same
        return numeric.compare_quantities(gold, _scaled(answer, other.factor / one.factor))
    unit = one if one is not None and one.dimension else other
    if same is not False or unit is None or not unit.dimension:
        return same
    return None if _is_converted(gold, answer, unit.dimension, unit.factor, answered=unit is other) else False


def _fraction(quantity: Quantity) -> Quantity:
    return _scaled(quantity, Fraction(1, 100)) if quantity.percent else quantity


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


def _is_converted(gold: Quantity, answer: Quantity, dimension: str, factor: Fraction, *, answered: bool) -> bool:
    """Return whether the values are equal in another unit of the dimension."""
    from fusionrun_stages.grading.mathematics.units import UNITS

    power = 1
    if "^" in dimension:
        dimension, power = dimension.split("^")[0], int(dimension[-1])
    if "/" in dimension:
        return True
    for unit in UNITS.values():
        if unit.dimension == dimension:
            scale = factor / unit.factor**power
            pair = (gold, _scaled(answer, scale)) if answered else (_scaled(gold, scale), answer)
            if numeric.compare_quantities(*pair) is not False:
                return True
    return dimension == "angle" and bool(answered or gold.value)


def _labelled(one: Labelled, other: Value) -> bool | None:
    if not isinstance(other, Labelled):
        if isinstance(other, Equation) and one.equation is not None:
            return _equations(one.equation, other)
        found = compare(one.value, other)
        return None if found is False and isinstance(other, Words) else found
    found = compare(one.value, other.value)
    if one.label == other.label:
        return found
    if one.equation is not None and other.equation is not None:
        same = _equations(one.equation, other.equation)
        if same is not False:
            return same
    return None if found is not False else False


def _choice(gold: Choice, answer: Value) -> bool | None:
    if isinstance(answer, Choice):
        if gold.letters != answer.letters:
            same = gold.rest is not None and answer.rest is not None and compare(gold.rest, answer.rest) is not False
            return None if same else False
        if gold.rest is not None and answer.rest is not None and compare(gold.rest, answer.rest) is False:
            return None
        return True
    if gold.rest is None:
        return None
    found = compare(gold.rest, answer)
    return found if found is True else None


def _items(gold: Items, answer: Items) -> bool | None:
    """Compare several values; the brackets say whether the order counts."""
    both = {gold.brackets, answer.brackets}
    if len(gold.items) != len(answer.items):
        return None if both == {"", ";"} and False else _sizes(gold, answer)
    if (named := _by_label(gold, answer)) is not None:
        return _all(compare(a, b) for a, b in named)
    ordered = _all(compare(a, b) for a, b in zip(gold.items, answer.items, strict=True))
    if gold.brackets == answer.brackets and gold.brackets not in {"", "{}", ";"}:
        return ordered
    if both <= {"", "{}"}:
        return True if ordered is True else _unordered(gold.items, answer.items)
    if both <= {"", ";"}:
        if ordered is True:
            return True
        return None if _unordered(gold.items, answer.items) is not False else False
    if both & {"", ";", "{}"}:  # a list against a tuple or an interval
        coordinates = _coordinates(gold, answer)
        if coordinates is not None:
            return _all(compare(a, b) for a, b in coordinates)
        return None if _unordered(gold.items, answer.items) is not False else False
    if both == {"()", "[]"} and ordered is True and len(gold.items) > 2:
        return None
    return False


def _by_label(gold: Items, answer: Items) -> list[tuple[Value, Value]] | None:
    """Pair the values of ``x = 2, y = 3`` by their names, if both sides have the same."""
    named = [{item.label: item.value for item in side.items if isinstance(item, Labelled)} for side in (gold, answer)]
    if named[0].keys() != named[1].keys() or len(named[0]) != len(gold.items):
        return None
    return [(value, named[1][label]) for label, value in named[0].items()]


def _coordinates(gold: Items, answer: Items) -> list[tuple[Value, Value]] | None:
    """Pair the values of ``(1, 2)`` with those of ``x = 1, y = 2``, if the names are in the order of the alphabet."""
    named, plain = (gold, answer) if gold.brackets in {"", ";"} else (answer, gold)
    labels = {item.label: item.value for item in named.items if isinstance(item, Labelled)}
    if plain.brackets != "()" or len(labels) != len(named.items) or "".join(sorted(labels)) not in _COORDINATES:
        return None
    return list(zip((labels[name] for name in sorted(labels)), plain.items, strict=True))


def _sizes(gold: Items, answer: Items) -> bool | None:
    """Lists of different lengths differ, unless values are repeated."""
    if {gold.brackets, answer.brackets} <= {"", "{}"}:
        inside = all(any(compare(a, b) is not False for b in answer.items) for a in gold.items[:_MATCHED_MAX])
        back = all(any(compare(a, b) is not False for a in gold.items) for b in answer.items[:_MATCHED_MAX])
        return None if inside and back else False
    return False


def _all(found: "Sequence[bool | None] | object") -> bool | None:
    results = list(found)  # type: ignore[call-overload]
    if False in results:
        return False
    return None if None in results else True


def _unordered(gold: Sequence[Value], answer: Sequence[Value]) -> bool | None:
    """Match each value with one of the other side."""
    if len(gold) > _MATCHED_MAX:
        return None
    left = list(answer)
    doubt = False
    for value in gold:
        found = [compare(value, other) for other in left]
        if True in found:
            del left[found.index(True)]
        elif None in found:
            doubt = True
        else:
            return False
    return None if doubt else True


def _one_of_several(gold: Value, answer: Value) -> bool | None:
    several, one = (gold, answer) if isinstance(gold, Items) else (answer, gold)
    assert isinstance(several, Items)
    if len(several.items) == 1:
        return compare(several.items[0], one)
    return False


def _regions(gold: Value, answer: Value) -> bool | None:
    import sympy

    if isinstance(answer, Words) or isinstance(gold, Words):
        words = next(value.text for value in (gold, answer) if isinstance(value, Words))
        region = next((value for value in (gold, answer) if isinstance(value, Region)), None)
        empty = region is not None and region.numbers == sympy.S.EmptySet
        if words in _NOTHING:
            return empty
        return None
    a, b = as_region(gold), as_region(answer)
    if a is None or b is None:
        return False if isinstance(gold, Items | Quantity) or isinstance(answer, Items | Quantity) else None
    if a == b:
        return True
    difference = sympy.SymmetricDifference(a, b)
    return True if difference == sympy.S.EmptySet else False


def _matrices(gold: Matrix, answer: Matrix) -> bool | None:
    if [len(row) for row in gold.rows] != [len(row) for row in answer.rows]:
        return False
    pairs = [(a, b) for rows in zip(gold.rows, answer.rows, strict=True) for a, b in zip(*rows, strict=True)]
    return _all(compare(a, b) for a, b in pairs)


def _equations(gold: Equation, answer: Equation) -> bool | None:
    if gold.relation != answer.relation:
        return False
    same, sign = numeric.is_multiple(gold.difference, answer.difference)
    if same is not True:
        return same
    return True if sign > 0 or gold.relation in {"=", "\\ne"} else False


def _based(gold: Value, answer: Value) -> bool | None:
    based, plain = (gold, answer) if isinstance(gold, Based) else (answer, gold)
    assert isinstance(based, Based)
    assert isinstance(plain, Quantity)
    digits = str(plain.value)
    if based.base == 10:
        return bool(plain.value == int(based.digits))
    return None if digits == based.digits or plain.value == int(based.digits, based.base) else False


def _times(gold: Value, answer: Value) -> bool | None:
    match gold, answer:
        case Clock(), Clock():
            if (
                gold.half == answer.half
                or ({gold.half, answer.half} == {"", "pm"}
                and max(gold.minutes, answer.minutes) >= 780)
            ):
                if gold.minutes == answer.minutes:
                    return True
            return None if gold.half != answer.half and (gold.minutes - answer.minutes) % 720 == 0 else False
        case (Ratio(), Ratio()) if len(gold.terms) == len(answer.terms):
            return _ratios(gold, answer)
        case (Ratio(), Quantity(symbols=symbols)) | (Quantity(symbols=symbols), Ratio()) if not symbols:
            ratio, number = (gold, answer) if isinstance(gold, Ratio) else (answer, gold)
            assert isinstance(ratio, Ratio)
            assert isinstance(number, Quantity)
            if len(ratio.terms) != 2:
                return False
            product = _product(number, ratio.terms[1])
            return None if numeric.compare_quantities(product, ratio.terms[0]) is not False else False
        case (Clock(), Quantity()) | (Quantity(), Clock()):
            clock, number = (gold, answer) if isinstance(gold, Clock) else (answer, gold)
            assert isinstance(clock, Clock)
            assert isinstance(number, Quantity)
            return _clock_and_number(clock, number)
        case (Clock(), Ratio()) | (Ratio(), Clock()):
            clock, ratio = (gold, answer) if isinstance(gold, Clock) else (answer, gold)
            assert isinstance(clock, Clock)
            assert isinstance(ratio, Ratio)
            parts = [Quantity(Fraction(part)) for part in re.findall("[0-9]+", clock.text)]
            if clock.half or len(parts) != len(ratio.terms):
                return False
            return _ratios(Ratio(tuple(parts)), ratio)
    return None if isinstance(gold, Words) or isinstance(answer, Words) else False


def _product(a: Quantity, b: Quantity) -> Quantity:
    import sympy

    x, y = (sympy.Rational(v.numerator, v.denominator) if isinstance(v, Fraction) else v for v in (a.value, b.value))
    return Quantity(x * y)


def _ratios(gold: Ratio, answer: Ratio) -> bool | None:
    """Compare by cross products."""
    first, second = gold.terms[0], answer.terms[0]
    return _all(
        numeric.compare_quantities(_product(a, second), _product(b, first))
        for a, b in zip(gold.terms[1:], answer.terms[1:], strict=True)
    )


def _clock_and_number(clock: Clock, number: Quantity) -> bool | None:
    """A time of day is no number, but ``8:30`` can be a duration, and ``5`` can be five o'clock."""
    if not isinstance(number.value, Fraction):
        return False
    unit = number.unit
    seconds = clock.minutes * 60
    candidates = (
        [number.value * unit.factor]
        if unit is not None and unit.dimension == "time"
        else [number.value * factor for factor in (1, 60, 3600)]
    )
    hours, *_ = re.findall("[0-9]+", clock.text)
    close = any(one in {seconds, seconds % 43200, seconds / 60} for one in candidates)
    return None if close or (number.value == int(hours) and clock.minutes % 60 == 0) else False


def compare_words(gold: str, answer: str) -> bool | None:
    """Compare normalised words. Phrases that share a word, and long ones, are a doubt unless they are equal."""
    if gold == answer or (gold in _NOTHING and answer in _NOTHING):
        return True
    a, b = gold.split(), answer.split()
    for opposites in _OPPOSITES:
        if len(a) == 1 and a[0] in opposites and b:
            if b[0] == a[0] and (opposites - {a[0]}).isdisjoint(b) and "not" not in b:
                return True
            if len(b) == 1 and b[0] in opposites:
                return False
    if len(a) > 2 or len(b) > 2 or not set(a).isdisjoint(b) or gold in answer or answer in gold:
        return None
    if gold.replace(" ", "") == answer.replace(" ", "") or _is_inflected(gold, answer):
        return None
    return None if re.search("[\u3000-\u9fff]", gold + answer) else False  # words without white space


def _is_inflected(gold: str, answer: str) -> bool:
    shorter, longer = sorted((gold, answer), key=len)
    return len(shorter) > 3 and longer.startswith(shorter[:-1])


def _words(gold: Value, answer: Value) -> bool | None:
    """Words against a value: a doubt if the words hold a number or could be variables."""
    words = next(value.text for value in (gold, answer) if isinstance(value, Words))
    other = next(value for value in (gold, answer) if not isinstance(value, Words))
    if words in _NOTHING:
        return None if isinstance(other, Region) else False
    if re.search("[0-9]", words) or isinstance(other, Items | Equation | Written):
        return None
    if isinstance(other, Quantity) and (other.symbols or not words.isascii() or len(words.split()) > 2):
        return None
    return None if "infinit" in words or "undefined" in words or "all" in words.split() else False
