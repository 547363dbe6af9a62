"""Options of a question, and the letter of the correct one."""

import ast
import json
import string
from typing import Any

from fusionrun_stages.prompts.bad_rows import BadRowError
from fusionrun_stages.prompts.values import get_text

LETTERS = string.ascii_uppercase
NO_OPTION = "N/A"
"""What MMLU-Pro writes in place of a missing option. Source: MMLU-Pro, ``evaluate_from_local.py``."""
LITERAL_MAX_CHARACTERS = 2**16
"""Longer lists in Python's notation are refused: they are parsed with ``ast``."""


def read_options(value: Any) -> list[str]:
    """Return the options of a column: a list, or a text with a list in the notation of JSON or Python.

    Raise BadRowError if there are fewer than two, or more than there are letters.
    """
    if isinstance(value, str):
        value = _parse_list(value.strip())
    texts = [get_text(item) for item in value] if isinstance(value, list) else []
    options = [text for text in texts if text is not None and text != NO_OPTION]
    if len(options) < 2 or any(text is None for text in texts):  # noqa: PLR2004
        raise BadRowError("no list of at least two options")
    if len(options) > len(LETTERS):
        raise BadRowError(f"more than {len(LETTERS)} options")
    return options


def listed(options: list[str]) -> str:
    """Return the options, one per line with its letter: ``A. Paris``."""
    return "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))


def letter_at(index: Any, options: list[str]) -> str:
    """Return the letter of an index from 0; raise BadRowError if there is no such option."""
    if isinstance(index, float) and index.is_integer():
        index = int(index)
    if isinstance(index, str) and index.strip().isdecimal():
        index = int(index)
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(options):
        raise BadRowError("an answer that is not the index of an option")
    return LETTERS[index]


def letter_of(answer: Any, options: list[str]) -> str:
    """Return the letter of an answer: the text of an option, a letter, or an index from 0, in this order.

    Raise BadRowError if it is none of them, if two options have its text, or if a number is both the index of an option
    and the text of another one.
    """
    text = get_text(answer)
    if text is None:
        raise BadRowError("no answer")
    equal = [letter for letter, option in zip(LETTERS, options, strict=False) if option.strip() == text.strip()]
    if len(equal) > 1:
        raise BadRowError("two options with the text of the answer")
    if isinstance(answer, (int, float)) and not isinstance(answer, bool):
        letter = letter_at(answer, options) if not equal else equal[0]
        if equal and isinstance(answer, int) and answer < len(options) and LETTERS[answer] != letter:
            raise BadRowError("an answer that is the index of an option and the text of another one")
        return letter
    if equal:
        return equal[0]
    letter = text.strip().strip("()").rstrip(".").upper()
    if len(letter) == 1 and letter in LETTERS[: len(options)]:
        return letter
    return letter_at(text, options)


def _parse_list(text: str) -> Any:
    """Return the list in a text, which CSV files have in the notation of Python; None if there is none.

    Source: aryopg/mmlu-redux, ``mmlu_redux/*.csv``: ``['Dyslexia', 'Epilepsy']``.
    """
    if not text.startswith("["):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    if len(text) > LITERAL_MAX_CHARACTERS:
        return None
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
