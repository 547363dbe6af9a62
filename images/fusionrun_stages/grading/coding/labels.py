"""The words after an opening fence: the language of the block."""

import re
from enum import Enum, auto

MAX_CHARACTERS = 200
"""Text after a fence that is longer is no label."""


class Language(Enum):
    """What a block of a response may hold."""

    PYTHON = auto()
    PLAIN = auto()
    """Not said: Python, or the output of a program."""
    MARKDOWN = auto()
    OTHER = auto()


_WORD = re.compile(r"[\s{.]*([\w+#.-]*)")
_PYTHON = re.compile(r"(?:i?python|py|pypy|sage)[\d._-]*|[\w.-]+\.py|python_\w+")
_PLAIN = frozenset({
    "", "code", "none", "text", "txt", "plain", "plaintext", "solution", "answer", "program", "script", "tool_code",
})  # fmt: skip
"""Labels that do not name a language, seen in responses of models (``tool_code``: Gemma); this project's list."""
_CODE = re.compile(r"(?:async[ \t]+def|def|class|import|from|if|for|while|try|with)\b[^`]*|@\w+|#")


def read_label(info: str) -> tuple[Language, str]:
    """Return the language that the text after a fence names, and the code that follows on the same line, if any."""
    info = info.strip()
    if len(info) > MAX_CHARACTERS or _CODE.match(info):
        return Language.PLAIN, info
    found = _WORD.match(info)
    assert found is not None  # every part of the pattern may be empty
    word, rest = found[1].lower(), info[found.end() :].lstrip(" \t}")
    if _PYTHON.fullmatch(word):
        return Language.PYTHON, rest if _CODE.match(rest) else ""
    if word in _PLAIN:
        return Language.PLAIN, ""
    return (Language.MARKDOWN if word in ("markdown", "md") else Language.OTHER), ""


def is_label(info: str) -> bool:
    """Return whether the text after a fence can be a label, and not the next words of a sentence."""
    language, code = read_label(info)
    return len(info.split()) <= 1 or language is Language.PYTHON or code != ""
