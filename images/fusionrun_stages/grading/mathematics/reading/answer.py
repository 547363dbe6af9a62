"""Read a final answer: what kind of value it is, and its parts.

A text that no rule reads with certainty gives None. A gold answer must be read; an answer that is not read is unknown.
"""

import re

from fusionrun_stages.grading.mathematics.reading.clean import clean, closing
from fusionrun_stages.grading.mathematics.reading.parts import DEPTH_MAX, READERS, read_part
from fusionrun_stages.grading.mathematics.reading.quantity import read_compound, read_numeral, read_quantity
from fusionrun_stages.grading.mathematics.reading.regions import read_builder, read_region
from fusionrun_stages.grading.mathematics.reading.relations import read_relation
from fusionrun_stages.grading.mathematics.reading.several import read_brackets, read_list, read_matrix, read_signs
from fusionrun_stages.grading.mathematics.reading.times import read_based, read_clock, read_ratio
from fusionrun_stages.grading.mathematics.reading.tokens import NAMES, NotReadError
from fusionrun_stages.grading.mathematics.reading.values import Choice, Value, Words

TEXT_MAX = 2_000
"""Longer texts are not read."""
WORDS_MAX = 12
_EMPTY = frozenset({"", "nan", "null", "none", "n/a", "na", "?", "-", "--", "nil", "...", "<na>", "nat"})
"""Cells of tables without a value, as text."""
_BOX = re.compile(r"\\(?:boxed|fbox) ?\{")
_CHOICE = re.compile(r"\(([A-Ja-e])\)|([A-J])[.):]?")
_CHOICE_REST = re.compile(r"(?:\(([A-J])\)|([A-J])[.):]) ?(.+)")
_CHOICES = re.compile(r"\(?([A-F](?:(?:, ?| and |, and | )?\(?[A-F]\)?){1,5})\)?")
_CHOICE_WORDS = re.compile(r"(?:the )?(?:correct )?(?:option|choice|answer)(?: is)?:? ?", re.IGNORECASE)
_TEXT = re.compile(r"[^\W_](?:[\w ,.;'’()/-]|&)*[\w).'’]|[^\W_]")
_BARE_WORD = re.compile(r"[A-Z]?[a-z]{3,}|[A-Z]{2,}|[A-Z][a-z]{1,2}|no|is|or")
"""A word, and no product: ``listen`` is not ``silent``. Two small letters, as ``xy``, stay a product."""


def read(text: str) -> Value | None:
    """Return the value of an answer, or None if no rule reads it with certainty."""
    if len(text) > TEXT_MAX:
        return None
    content = clean(_unboxed(text))
    if content.lower() in _EMPTY:
        return None
    try:
        return read_part(content, 0)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 (SymPy raises many kinds; such a text is not read)
        return None


def _unboxed(text: str) -> str:
    boxes = list(_BOX.finditer(text))
    if not boxes:
        return text
    found = boxes[-1]
    end = closing(text, found.end() - 1)
    return text[found.end() : end] if end > 0 else text


def _read_choice(text: str, _depth: int) -> Value | None:
    words = _CHOICE_WORDS.match(text)
    rest = text[words.end() :] if words else text
    if (found := _CHOICE.fullmatch(rest)) is not None:
        return Choice((found[1] or found[2]).upper())
    if (found := _CHOICES.fullmatch(rest)) is not None:
        letters = re.findall("[A-F]", found[1])
        if letters == sorted(set(letters)):
            return Choice("".join(letters))
    if (found := _CHOICE_REST.fullmatch(rest)) is not None:
        try:
            return Choice(found[1] or found[2], read_part(found[3], DEPTH_MAX - 1))
        except NotReadError:
            return Choice(found[1] or found[2])
    return None


def _read_time_or_base(text: str, _depth: int) -> Value | None:
    value: Value | None = read_clock(text) or read_based(text) or read_compound(text)
    if value is None and ":" in text and not text.startswith("\\{"):
        value = read_ratio(text)
    return value


def _read_formula(text: str, _depth: int) -> Value | None:
    if _BARE_WORD.fullmatch(text) and text.lower() not in NAMES:
        return read_numeral(text)
    try:
        return read_quantity(text)
    except NotReadError:
        return None


def _read_words(text: str, _depth: int) -> Value | None:
    if not _TEXT.fullmatch(text) or len(text.split()) > WORDS_MAX:
        return None
    letters = re.findall(r"[^\W\d_]+", text)
    if not any(len(word) > 1 for word in letters) and not (len(letters) == 1 and text.isalpha()):
        return None
    if (not text.isascii() and any("\u4e00" <= c <= "\u9fff" for c in text)) or sum(map(len, letters)) * 2 > len(
        text.replace(" ", "")
    ):
        return Words(normalise(text))
    return None


def normalise(text: str) -> str:
    """Return the words in lower case, without punctuation and articles."""
    words = re.findall(r"[\w]+", text.casefold().replace("'", "").replace("’", ""))
    return " ".join(word for word in words if word not in {"the", "a", "an"}) or " ".join(words)


READERS[:] = [
    _read_choice,
    _read_time_or_base,
    read_matrix,
    read_signs,
    read_builder,
    read_brackets,
    read_region,
    read_relation,
    read_list,
    _read_formula,
    _read_words,
]
