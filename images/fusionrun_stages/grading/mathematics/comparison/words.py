"""Compare words and choices."""

import re

from fusionrun_stages.grading.mathematics.comparison.rules import compare, rule
from fusionrun_stages.grading.mathematics.reading.values import (
    Based,
    Choice,
    Clock,
    Equation,
    Items,
    Matrix,
    Quantity,
    Ratio,
    Region,
    Value,
    Words,
    Written,
)

_OPPOSITES = (frozenset({"yes", "no"}), frozenset({"true", "false"}), frozenset({"even", "odd"}))
_NOTHING = frozenset({"no solution", "no solutions", "there is no solution", "there are no solutions",
                      "no real solution", "no real solutions", "empty set", "无解", "空集"})  # fmt: skip

_FRACTION_WORD = re.compile(r"\b(?:hal(?:f|ves)|(?:third|quarter|fourth|fifth|sixth|seventh|eighth|ninth|tenth)s?)\b")


@rule((Choice,), (Choice,))
def _choices(gold: Choice, answer: Choice) -> bool | None:
    """Compare letters, and leave a doubt if the texts of the choices say something else."""
    texts = None if gold.rest is None or answer.rest is None else compare(gold.rest, answer.rest) is not False
    if gold.letters != answer.letters:
        return None if texts is True else False
    return None if texts is False else True


@rule((Choice,), (Quantity, Items, Equation, Region, Matrix, Based, Clock, Ratio, Words, Written))
def _choice(gold: Value, answer: Value) -> bool | None:
    """Compare the text of a choice with an answer without a letter."""
    values = [value.rest if isinstance(value, Choice) else value for value in (gold, answer)]
    return True if None not in values and compare(*values) is True else None  # type: ignore[arg-type]


@rule((Words,), (Words,))
def _words(gold: Words, answer: Words) -> bool | None:
    return compare_words(gold.text, answer.text)


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


@rule((Words,), (Quantity, Items, Equation, Region, Matrix, Based, Clock, Ratio, Written))
def _words_and_value(gold: Value, answer: Value) -> bool | None:
    """Leave a doubt if the words hold a number or could be variables."""
    words, other = (gold, answer) if isinstance(gold, Words) else (answer, gold)
    assert isinstance(words, Words)
    text = words.text
    if isinstance(other, Region):
        return other.numbers.is_empty if text in _NOTHING else None
    if text in _NOTHING:
        return False
    if re.search("[0-9]", text) or not isinstance(other, Quantity):
        return None
    if other.symbols or not text.isascii() or len(text.split()) > 2 or _FRACTION_WORD.search(text):
        return None
    return None if "infinit" in text or "undefined" in text or "all" in text.split() else False


@rule((Written,), (Written,))
def _written(gold: Written, answer: Written) -> bool | None:
    return True if gold == answer else None


@rule((Written,), (Quantity, Items, Equation, Region, Matrix, Based, Clock, Ratio))
def _written_and_value(_gold: Value, _answer: Value) -> bool | None:
    """Leave a doubt: such a notation is only compared as it is written."""
    return None
