"""Numbers in English words, by the rules of the package word2number, which the Qwen2.5-Math harness uses.

Words that are not numbers are ignored, so ``I counted twenty one apples`` is 21. Source: word2number 1.1 (MIT).
"""

from collections.abc import Sequence
from itertools import pairwise

_ONES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TEENS = (
    "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SCALES = {"billion": 10**9, "million": 10**6, "thousand": 10**3}
_POINT = "point"
_DIGITS_MAX = 4300
"""Python's default limit for the conversion of digits (``sys.int_info.default_max_str_digits``)."""
VALUES = {
    **{word: n for n, word in enumerate(_ONES + _TEENS)},
    **{word: 10 * n for n, word in enumerate(_TENS, start=2)},
    "hundred": 100,
    **_SCALES,
}


def words_to_number(text: str) -> str | None:
    """Return the number that a text names, in digits; None if there is none or its words are in no valid order.

    Text of digits only is returned without leading zeros.
    """
    text = text.replace("-", " ").lower()
    if text.isdecimal():
        return str(int(text)) if len(text) <= _DIGITS_MAX else None
    words = [word for word in text.split() if word in VALUES or word == _POINT]
    if not words or any(words.count(word) > 1 for word in (*_SCALES, _POINT)):
        return None
    whole, decimals = words, list[str]()
    if _POINT in words:
        place = words.index(_POINT)
        whole, decimals = words[:place], words[place + 1 :]
    places = [whole.index(scale) for scale in _SCALES if scale in whole]
    if any(larger > smaller for larger, smaller in pairwise(places)):
        return None
    value = _whole(whole, places)
    return None if value is None else str(value + _decimals(decimals) if decimals else value)


def _whole(words: Sequence[str], places: Sequence[int]) -> int | None:
    """Return the value of the words before the point, with the places of billion, million and thousand."""
    if len(words) < 2:  # noqa: PLR2004 (a single word is its value)
        return VALUES[words[0]] if words else 0
    starts = [0, *(place + 1 for place in places)]
    parts = [(words[start:place], VALUES[words[place]]) for start, place in zip(starts, places, strict=False)]
    # ``two million five thousand`` ends with a scale: then the package also adds up the words after the scale before.
    rest = next((start for start in reversed(starts) if start < len(words)), 0)
    if rest or not places:
        parts.append((words[rest:], 1))
    total = 0
    for part, scale in parts:
        count = _below_thousand(part)
        if count is None:
            return None
        total += count * scale
    return total


def _below_thousand(words: Sequence[str]) -> int | None:
    """Return the value of up to four words; of five or more only the first counts, as in the package."""
    match [VALUES[word] for word in words]:
        case []:
            return None
        case [a, b]:
            return a * b if 100 in (a, b) else a + b  # noqa: PLR2004
        case [a, b, c]:
            return a * b + c
        case [a, b, c, d]:
            return a * b + c + d
        case numbers:
            return numbers[0]


def _decimals(words: Sequence[str]) -> float:
    """Return the value of the digits after the point; 0 if one of the words is not a digit."""
    if not all(word in _ONES for word in words):
        return 0
    return float("0." + "".join(str(VALUES[word]) for word in words))
