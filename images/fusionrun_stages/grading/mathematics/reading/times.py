"""Read times of day, ratios and numbers with a base."""

import re
from fractions import Fraction

from fusionrun_stages.grading.mathematics.reading import tokens
from fusionrun_stages.grading.mathematics.reading.quantity import read_expression
from fusionrun_stages.grading.mathematics.reading.tokens import NotReadError
from fusionrun_stages.grading.mathematics.reading.values import Based, Clock, Ratio

_CLOCK = re.compile(r"([0-9]{1,2}):([0-5][0-9])(?::([0-5][0-9]))? ?([aApP])?\.?(?(4) ?[mM]\.?)")
_HOUR = re.compile(r"([0-9]{1,2}) ?([aApP])\.? ?[mM]\.?|([0-9]{1,2}) o'clock")
_BASED = re.compile(
    r"\(?([0-9][0-9A-Za-z]*|[A-Fa-f][0-9A-Fa-f]*)\)? ?"
    r"(?:_ ?\{? ?\(?([0-9]{1,2}|two|three|four|five|six|seven|eight|nine|ten|twelve|sixteen)\)? ?\}?"
    r"|,? ?(?:in )?\(?base[ -]([0-9]{1,2})\)?)"
)
_PREFIXED = re.compile(r"0([xXbBoO])([0-9a-fA-F]+)")
_BASES = {"x": 16, "b": 2, "o": 8, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
          "nine": 9, "ten": 10, "twelve": 12, "sixteen": 16}  # fmt: skip


def read_clock(text: str) -> Clock | None:
    """Return a time of day as ``8:30`` or ``5 p.m.``."""
    if (found := _CLOCK.fullmatch(text)) is not None:
        hours, minutes, seconds, half = int(found[1]), int(found[2]), int(found[3] or 0), (found[4] or "").lower()
    elif (found := _HOUR.fullmatch(text)) is not None:
        hours, minutes, seconds, half = int(found[1] or found[3]), 0, 0, (found[2] or "").lower()
    else:
        return None
    if hours > 24 or (half and not 1 <= hours <= 12):
        return None
    if half:
        hours = hours % 12 + (12 if half == "p" else 0)
    return Clock(Fraction(hours * 3600 + minutes * 60 + seconds, 60), f"{half}m" if half else "", text)


def read_ratio(text: str) -> Ratio | None:
    """Return the terms of ``3:4`` or ``2:3:5``."""
    parts = text.split(":")
    if not 2 <= len(parts) <= 6:
        return None
    try:
        terms = tuple(read_expression(part.strip()) for part in parts)
    except NotReadError:
        return None
    return None if any(term.value == 0 for term in terms[1:]) and len(terms) == 2 else Ratio(terms)


def read_based(text: str) -> Based | None:
    """Return a number with its base, as ``1011_2`` or ``0x1F``."""
    if (found := _PREFIXED.fullmatch(text)) is not None:
        base, digits = _BASES[found[1].lower()], found[2]
    elif (found := _BASED.fullmatch(text)) is not None:
        digits, written = found[1], found[2] or found[3]
        base = _BASES.get(written) or int(written)
        if digits.isalpha() and (len(digits) == 1 or base != 16):
            return None
    else:
        return None
    if not 2 <= base <= 36 or len(digits) > tokens.DIGITS_MAX:
        return None
    try:
        int(digits, base)
    except ValueError:
        return None
    return Based(digits.upper().lstrip("0") or "0", base)
