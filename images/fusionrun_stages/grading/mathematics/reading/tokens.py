"""Split a formula into tokens, and read its numbers."""

import re
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

DIGITS_MAX = 400
"""Digits of one number."""
_TOKEN = re.compile(
    r"(?P<space> *)(?:"
    r"(?P<repeating>[0-9]*\.[0-9]*(?:\\(?:overline|bar|dot) ?\{?[0-9]+\}?[0-9]*)+|[0-9]+\.[0-9]*\([0-9]+\))"
    r"|(?P<science>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE][+-]?[0-9]+(?![0-9.a-zA-Z]))"
    r"|(?P<number>[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
    r"|(?P<command>\\[a-zA-Z]+|\\[{}|])|(?P<word>[a-zA-Z]+)|(?P<symbol>\*\*|[-+*/^_(){}\[\]|!'=<>,;:&%.]))"
)
_REPEATED = re.compile(r"\\(overline|bar|dot) ?\{?([0-9]+)\}?")
_WORD_LETTERS_MAX = 3
"""A longer word is no product of letters."""
NAMES = frozenset(
    ["sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "arccot", "sinh", "cosh", "tanh", "ln",
     "exp", "abs", "asin", "acos", "atan", "lg", "sqrt", "pi", "log", "infinity", "inf", "oo", "cbrt"]
)  # fmt: skip
"""Words that stand for a command of LaTeX."""


class NotReadError(Exception):
    """The text is no formula, or there are two ways to read it."""


class TooLargeError(NotReadError):
    """The value is too large to compute with."""


class Token(NamedTuple):
    """A part of a formula."""

    kind: str  # number, command, letter, word, symbol
    text: str
    spaced: bool  # white space in front of it


def repeating_decimal(text: str) -> Fraction:
    r"""Return the value of ``0.1\overline{6}``, ``0.\dot{1}4285\dot{7}`` or ``0.(3)``."""
    text = text.replace(" ", "")
    if "(" in text:
        whole, rest = text.split(".", 1)
        fixed, repeated = rest.rstrip(")").split("(")
    else:
        marks = list(_REPEATED.finditer(text))
        whole, fixed = text[: marks[0].start()].split(".", 1)
        kinds = {mark[1] for mark in marks}
        tail = text[marks[-1].end() :]
        if len(marks) == 1 and not tail:
            repeated = marks[0][2]
        elif len(marks) == 2 and kinds == {"dot"} and not tail:
            repeated = marks[0][2] + text[marks[0].end() : marks[1].start()] + marks[1][2]
        elif kinds == {"dot"} and not tail and all(a.end() == b.start() for a, b in pairwise(marks)):
            repeated = "".join(mark[2] for mark in marks)
        else:
            raise NotReadError(text)
    if len(text) > DIGITS_MAX:
        raise TooLargeError(text[:40])
    scale = 10 ** len(fixed)
    return Fraction(int(whole + fixed or "0"), scale) + Fraction(int(repeated), scale * (10 ** len(repeated) - 1))


def decimal(text: str) -> Fraction:
    """Return the exact value of a decimal, also in E-notation."""
    exponent = re.split("[eE]", text)[1:] or ["0"]
    if len(text) > DIGITS_MAX or abs(int(exponent[0])) > DIGITS_MAX:
        raise TooLargeError(text[:40])
    return Fraction(text)


def tokens_of(text: str) -> list[Token]:
    """Split a formula into tokens; raise NotReadError for characters that no formula has."""
    tokens: list[Token] = []
    index = 0
    text = text.rstrip(" ")
    while index < len(text):
        found = _TOKEN.match(text, index)
        if found is None:
            raise NotReadError(text)
        spaced = bool(found["space"])
        index = found.end()
        kind = str(found.lastgroup)
        token = found[kind]
        if kind != "word":
            tokens.append(Token(kind, token, spaced))
        elif token in NAMES:
            tokens.append(Token("command", "\\" + token, spaced))
        elif len(token) > _WORD_LETTERS_MAX:
            raise NotReadError(token)
        else:
            tokens += [Token("letter", letter, spaced and n == 0) for n, letter in enumerate(token)]
    return tokens
