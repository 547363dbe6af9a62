"""Read a part of an answer: the readers of all kinds of values, in turn."""

import re
from collections.abc import Callable

from fusionrun_stages.grading.mathematics.reading.clean import DOTS
from fusionrun_stages.grading.mathematics.reading.quantity import read_number
from fusionrun_stages.grading.mathematics.reading.tokens import NotReadError
from fusionrun_stages.grading.mathematics.reading.values import Value, Written

Reader = Callable[[str, int], Value | None]
"""Return None if the text is of another kind, and raises NotReadError if nothing can read it with certainty."""
READERS: list[Reader] = []
"""Filled by ``answer``: readers of several values need the readers of their parts."""
DEPTH_MAX = 8
_CIRCLED = re.compile(r"(?:[①-⑳][, ]*)+")


def read_part(text: str, depth: int) -> Value:
    """Read a text after ``clean``; raise NotReadError."""
    if depth > DEPTH_MAX:
        raise NotReadError(text)
    text = text.strip()
    if (number := read_number(text)) is not None:
        return number
    if DOTS.strip() in text or _CIRCLED.fullmatch(text):
        return Written(re.sub(",$", "", key_of(text)))
    for reader in READERS:
        value: Value | None = reader(text, depth)
        if value is not None:
            return value
    raise NotReadError(text)


def key_of(text: str) -> str:
    """Return the text without white space and braces."""
    return re.sub(r"[ {}]", "", text)
