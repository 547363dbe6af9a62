"""The Python parser, for text that a model wrote."""

import ast
import warnings

PROGRAM_MAX_CHARACTERS = 65536
"""A longer text is no program: its tree would take a thousand times its memory."""


def parse(text: str) -> ast.Module | None:
    """Return the tree of a program, or None if it is too long or not valid Python."""
    try:
        return parse_or_raise(text) if len(text) <= PROGRAM_MAX_CHARACTERS else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def parse_or_raise(text: str) -> ast.Module:
    r"""Return the tree of a program, without warnings about strings such as ``"\d"``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)
