"""Rewrite an answer to a normal form: without units, sizes of brackets, currency, percent and white space.

Source: ``strip_string`` in ``evaluation/parser.py`` of QwenLM/Qwen2.5-Math (MIT), which is based on that of
hendrycks/math. The order of the rules matters. Some have side effects on other texts, such as on the letters "inf" in a
word; they are part of the protocol.
"""

import re
from collections.abc import Sequence

from fusionrun_stages.grading.qwen_mathematics.number_words import words_to_number
from fusionrun_stages.grading.qwen_mathematics.unit_names import remove_units

Rules = Sequence[tuple[str | re.Pattern[str], str]]
"""Texts or patterns, and what replaces them."""

_NOTATION: Rules = (
    (r"\!", ""),
    (re.compile(r"\\begin\{array\}\{.*?\}"), r"\\begin{pmatrix}"),
    (re.compile(r"\\end\{array\}"), r"\\end{pmatrix}"),
    ("bmatrix", "pmatrix"),
    ("tfrac", "frac"),
    ("dfrac", "frac"),
    (r"\neq", r"\ne"),
    (r"\leq", r"\le"),
    (r"\geq", r"\ge"),
    (r"\left", ""),
    (r"\right", ""),
    (r"\{", "{"),
    (r"\}", "}"),
)
_LAST_TEXT = re.compile(r"\\text{.*?}$")
_SIGNS: Rules = ((r"^{\circ}", ""), (r"^\circ", ""), (r"\$", ""), ("$", ""), (r"\(", ""), (r"\)", ""))
_VARIABLES: Rules = [(name + sign, "") for sign in ("=", r"\in", r"\to") for name in "xyz"]
_SYMBOLS: Rules = (
    (re.compile(r"\\text\{(.*?)\}"), r"\1"),
    *_VARIABLES,
    (r"\emptyset", "{}"),
    (r"(-\infty,\infty)", r"\mathbb{R}"),
    (r"\%", ""),
    (r"\%", ""),  # what the first one leaves
    ("%", ""),
    (" .", " 0."),
    ("{.", "{0."),
    ("infinity", r"\infty"),
)
_WORDS: Rules = (("and", ""), (r"\mathbf", ""), (re.compile(r"\\mbox{.*?}"), ""))
_ZERO_DECIMALS: Rules = ((re.compile(r"(?<=\d)\.0*(\D)"), r"\1"), (re.compile(r"(?<=\d)\.0*$"), ""))
_ROOT = re.compile(r"\\sqrt(\w+)")
_INTEGER = re.compile("0|-?[1-9][0-9]*")
_NAME_MAX = 2
"""Maximum length of the left side of an equation that only names the answer, such as ``k =``."""


def normal_form(text: str) -> str:
    """Return the normal form of an answer."""
    text = _apply(_NOTATION, text.strip().replace("\n", "").rstrip("."))
    text = _LAST_TEXT.sub("", text).strip() or text
    text = _apply(_SIGNS, remove_units(text))
    text = _apply(_SYMBOLS, words_to_number(text) or text)
    if r"\infty" not in text:
        text = text.replace("inf", r"\infty")
    text = _apply(_WORDS, text)
    if "j" in text and "i" not in text:  # an engineer's imaginary unit
        text = text.replace("j", "i")
    text = _apply(_ZERO_DECIMALS, text)
    if text.startswith("."):
        text = "0" + text
    name, equals, value = text.partition("=")
    if equals and "=" not in value and len(name) <= _NAME_MAX:
        text = value
    text = _ROOT.sub(r"\\sqrt{\1}", text).replace(" ", "")
    return _slash_to_fraction(_brace_fractions(text))


def _apply(rules: Rules, text: str) -> str:
    for old, new in rules:
        text = text.replace(old, new) if isinstance(old, str) else old.sub(new, text)
    return text


def _brace_fractions(text: str) -> str:
    r"""Put braces around the two arguments of each fraction: ``\frac12`` and ``\frac1{72}``.

    A fraction with too few characters leaves the whole text as it is.
    """
    first, *others = text.split(r"\frac")
    done = [first]
    for other in others:
        if not other.startswith("{"):
            if len(other) < 2:  # noqa: PLR2004 (two arguments)
                return text
            top, bottom = other[0], other[1]
            other = f"{{{top}}}{other[1:]}" if bottom == "{" else f"{{{top}}}{{{bottom}}}{other[2:]}"  # noqa: PLW2901
        done.append(other)
    return r"\frac".join(done)


def _slash_to_fraction(text: str) -> str:
    """Write a quotient of two integers as a fraction. A term with a root counts as an integer."""
    terms = text.split("/")
    if len(terms) == 2 and all("sqrt" in term or _INTEGER.fullmatch(term) for term in terms):  # noqa: PLR2004
        return rf"\frac{{{terms[0]}}}{{{terms[1]}}}"
    return text
