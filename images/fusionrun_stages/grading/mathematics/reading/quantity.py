"""Read numbers and formulas with units."""

import re
from fractions import Fraction
from typing import Any

from fusionrun_stages.grading.mathematics.reading import expression, tokens
from fusionrun_stages.grading.mathematics.reading.tokens import NotReadError, TooLargeError
from fusionrun_stages.grading.mathematics.reading.units import LETTERS, UNITS, Unit, read_unit
from fusionrun_stages.grading.mathematics.reading.values import Quantity

_PLAIN = re.compile(r"([-+]? ?)(?:([0-9]+)|([0-9]*)\.([0-9]+)|([0-9]+)\.)(?:[eE]([+-]?[0-9]{1,3}))?")
_FRACTION = re.compile(r"(-? ?)(?:\\frac ?\{(-?[0-9]{1,300})\} ?\{([0-9]{1,300})\}|([0-9]{1,300}) ?/ ?([0-9]{1,300}))")
_MONEY = re.compile(r"(-? ?)(?:(?:US|U\.S\.)? ?(\\dollar)|(€|£|₹|Rs\.?(?![a-z])))")
_WORD_START = re.compile(
    r"(?<![\\a-zA-Z_{])(?:[^\W\d_]{2,}|[mgshlL](?![a-zA-Z])|\\deg|\\dollar|[¢€£℃℉]|[\u4e00-\u9fff])"
)
_PIECE = re.compile(r"([0-9]+(?:\.[0-9]+)?(?: ?[0-9]+/[0-9]+|/[0-9]+)?) ?([^\W\d_]+|\\deg|'|\")\.?(?:,| and| ,)? ?")
_APPROXIMATE = re.compile(
    r"^(?:\\approx|\\sim|\\simeq|=|\\therefore|:)\s*|^(?:about|approximately|roughly|exactly|only)\s+", re.IGNORECASE
)
_IN_BRACKETS = re.compile(r"^([^a-zA-Z()]{1,60}) ?\(([a-zA-Z ]{1,30})\)$")
_ANGLE_FUNCTION = re.compile(r"\\?(?:sin|cos|tan|cot|sec|csc)(?![a-z])")
_SCALES = {
    "dozen": 12,
    "hundred": 100,
    "thousand": 1000,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "万": 10**4,
    "亿": 10**8,
}
_NUMERALS = {
    word: number
    for number, word in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
            "twenty",
        ]
    )
}
_NUMERALS |= {"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
_VARIABLES = 3
"""A word of so many letters without white space in front of it is a product of variables, if it is no unit."""


def read_number(text: str) -> Quantity | None:
    """Return a plain integer, decimal or fraction of integers."""
    if len(text) > tokens.DIGITS_MAX:
        return None
    found = _PLAIN.fullmatch(text)
    if found is not None:
        point, exponent = found[4], int(found[6] or 0)
        if abs(exponent) > tokens.DIGITS_MAX:
            return None
        value = Fraction(text.replace(" ", "").rstrip("."))
        if point is None:
            return Quantity(
                value, None if exponent >= 0 else -exponent, 0 if exponent >= 0 else _significant(found[2] or found[5])
            )
        places = len(point) - exponent
        return Quantity(
            value, places if places > 0 else None, _significant((found[3] or "") + point) if places > 0 else 0
        )
    found = _FRACTION.fullmatch(text)
    if found is None:
        return None
    top, bottom = int(found[2] or found[4]), int(found[3] or found[5])
    return Quantity(Fraction(-top if found[1].strip() else top, bottom)) if bottom else None


def _significant(digits: str) -> int:
    return len(digits.lstrip("0"))


def read_expression(text: str) -> Quantity:
    """Return a number or a formula; raise NotReadError."""
    if (plain := read_number(text)) is not None:
        return plain
    value = expression.parse(text)
    if value.is_Rational:
        exact = Fraction(int(value.p), int(value.q))
        scientific = re.fullmatch(
            r"-?([0-9]*)\.?([0-9]*) ?(?:\\times|\\cdot|\*) ?10 ?(?:\^|\*\*) ?\{?(-?[0-9]{1,3})\}?", text.strip()
        )
        if scientific is not None:
            places, significant = len(scientific[2]) - int(scientific[3]), _significant(scientific[1] + scientific[2])
            return Quantity(exact, places if places > 0 else None, significant if places > 0 else 0)
        return Quantity(exact)
    return Quantity(value)


def read_quantity(text: str) -> Quantity:
    """Return a number or a formula, perhaps with a unit or a percent sign; raise NotReadError."""
    text = _APPROXIMATE.sub("", text).strip()
    text = _IN_BRACKETS.sub(r"\1 \2", text)
    if (plain := read_number(text)) is not None:
        return plain
    if (money := _MONEY.match(text)) is not None:
        unit = read_unit((money[2] or money[3]).strip())
        rest = re.sub(r" ?(?:USD|dollars|euros|pounds|rupees)$", "", text[money.end() :]).strip()
        value = read_expression(rest)
        return _with(value, unit, negative=bool(money[1].strip()))
    percent = re.fullmatch(r"(.*[^ ]) ?(?:%|percent|per cent|pct|percentage)(?: points?)?", text)
    if percent is not None:
        return _with(read_expression(percent[1]), None, percent=True)
    measured = read_compound(text) or _read_with_unit(text, known_only=True)
    return _read_formula_or_unit(text) if measured is None else measured


def _read_formula_or_unit(text: str) -> Quantity:
    try:
        return read_expression(text)
    except TooLargeError:
        raise
    except NotReadError:
        measured = _read_with_unit(text)
    if measured is None:
        raise NotReadError(text)
    return measured


def _with(value: Quantity, unit: Unit | None, *, percent: bool = False, negative: bool = False) -> Quantity:
    number: Any = -value.value if negative else value.value
    return Quantity(number, value.places, value.significant, unit, percent)


def _read_with_unit(text: str, *, known_only: bool = False) -> Quantity | None:
    """Split at the first word; what is in front of it must be a number, the rest a unit."""
    if (counted := _read_counted(text)) is not None:
        return counted
    for found in _WORD_START.finditer(text):
        head, tail, word = text[: found.start()].strip(), text[found.start() :].strip(), found[0]
        spaced = text[found.start() - 1] == " "
        if not head:
            break
        if word in tokens.NAMES or (word in LETTERS and not spaced):
            continue
        if word == "\\deg" and _ANGLE_FUNCTION.search(head):
            return None
        if (scale := _SCALES.get(word.lower())) is not None:
            return _scaled_in_words(head, tail[len(word) :].strip(), scale)
        noun = spaced and len(word) == _VARIABLES and not set("aeiou").isdisjoint(word)
        short = len(word) <= _VARIABLES and word.isascii() and not (spaced and len(word) == _VARIABLES)
        known = word in UNITS or word.lower() in UNITS
        if not known and short and not word.startswith("\\"):
            continue
        unit = read_unit(tail)
        if unit is None or (known_only and not unit.dimension and not noun):
            break
        try:
            value = read_numeral(head) or read_expression(head)
        except NotReadError:
            break
        return None if value.symbols else _with(value, unit)
    return None if known_only else read_numeral(text)


def _read_counted(text: str) -> Quantity | None:
    """Return the value of ``five apples``."""
    if (whole := read_numeral(text)) is not None:
        return whole
    words = text.split(" ")
    for count in (2, 1):
        value = read_numeral(" ".join(words[:count])) if len(words) > count else None
        unit = read_unit(" ".join(words[count:])) if value is not None else None
        if value is not None and unit is not None and words[count].lower() not in _SCALES:
            return _with(value, unit)
    return None


def _scaled_in_words(head: str, tail: str, scale: int) -> Quantity | None:
    """Return the value of ``2.5 million``, with a unit if one follows."""
    try:
        value = read_numeral(head) or read_expression(head)
    except NotReadError:
        return None
    unit = read_unit(tail) if tail else None
    if value.symbols or not isinstance(value.value, Fraction) or (tail and (unit is None or re.search("[0-9]", tail))):
        return None
    if any(word in _NUMERALS or word in _SCALES for word in re.split("[ -]", tail.lower())):
        return None
    return Quantity(value.value * scale, unit=unit)


def read_numeral(text: str) -> Quantity | None:
    """Return the value of a number in words, up to ninety-nine."""
    words = [_NUMERALS.get(word) for word in re.split("[ -]", text.lower())]
    scale = _SCALES.get(text.lower().rpartition(" ")[2])
    if scale is not None and (count := read_numeral(text.rpartition(" ")[0])) is not None:
        return Quantity(count.value * scale)
    if len(words) == 1 and words[0] is not None:
        return Quantity(Fraction(words[0]))
    if len(words) == 2 and words[0] and words[1] and words[0] % 10 == 0 and 20 <= words[0] < 100 and words[1] < 10:
        return Quantity(Fraction(words[0] + words[1]))
    return None


def read_compound(text: str) -> Quantity | None:
    """Return ``8 h 30 min`` or ``5 feet 3 inches`` as one quantity in the first unit."""
    pieces: list[tuple[Quantity, Unit]] = []
    index = 0
    while index < len(text) and len(pieces) < 5:
        found = _PIECE.match(text, index)
        if found is None:
            return None
        number = read_number(found[1]) or _mixed(found[1])
        unit = UNITS.get(found[2]) or UNITS.get(found[2].lower())
        if number is None or unit is None:
            return None
        pieces.append((number, unit))
        index = found.end()
    if len(pieces) < 2 or index < len(text) or len({unit.dimension for _, unit in pieces}) > 1:
        return None
    factors = [unit.factor for _, unit in pieces]
    if factors != sorted(factors, reverse=True) or len(set(factors)) < len(factors):
        return None
    total = sum((number.value * unit.factor for number, unit in pieces), Fraction(0))
    return Quantity(total / factors[0], unit=pieces[0][1])


def _mixed(text: str) -> Quantity | None:
    try:
        return read_expression(text)
    except NotReadError:
        return None
