"""Static analysis: what is wrong without being run.

A program may import any module. What it may do is decided by the sandbox: most programs that import ``os`` or
``subprocess`` do not use them for anything that a prompt forbids, or at all.
"""

import re
import sys

from fusionrun_stages.grade import Grade, unknown, wrong
from fusionrun_stages.grading.coding.syntax import PROGRAM_MAX_CHARACTERS, parse_or_raise

_NEWER: tuple[tuple[tuple[int, int], re.Pattern[str]], ...] = (
    ((3, 12), re.compile(r"\s*(?:async\s+)?(?:def|class)\s+\w+\s*\[")),  # PEP 695: type parameters
    ((3, 12), re.compile(r"\s*type\s+\w+\s*[\[=]")),  # PEP 695: type aliases
    ((3, 12), re.compile(r".*\b[rR]?[fF][rR]?['\"]")),  # PEP 701: quotes and backslashes inside f-strings
    ((3, 13), re.compile(r"\s*(?:(?:async\s+)?(?:def|class)|type)\s+\w+\s*\[.*=")),  # PEP 696: defaults of parameters
    ((3, 14), re.compile(r".*\b[rR]?[tT][rR]?['\"]")),  # PEP 750: template strings
    ((3, 14), re.compile(r"\s*except\*?\s+[\w.]+\s*(?:,\s*[\w.]+\s*)+:")),  # PEP 758: no parentheses
    ((3, 15), re.compile(r"\s*lazy\s+(?:import|from)\s")),  # PEP 810: lazy imports
)
"""Syntax by the version of Python that reads it first: a line with a syntax error in an older one."""


def analyse(program: str) -> Grade | None:
    """Return wrong for a syntax error, unknown for newer syntax than this Python's; None if it must be run."""
    if len(program) > PROGRAM_MAX_CHARACTERS:
        return wrong(f"static: {len(program)} characters, more than {PROGRAM_MAX_CHARACTERS}")
    try:
        parse_or_raise(program)
    except SyntaxError as error:
        reason = f"{error.msg} in line {error.lineno}"
        version = _newer_version(program, error)
        return unknown(f"static: it may need Python {version}: {reason}") if version else wrong(f"static: {reason}")
    except (ValueError, RecursionError, MemoryError) as error:
        return wrong(f"static: {type(error).__name__}")
    return None


def _newer_version(program: str, error: SyntaxError) -> str | None:
    """Return the version of Python that may read the line of a syntax error."""
    lines = program.split("\n")
    if error.lineno is None or not 1 <= error.lineno <= len(lines):
        return None
    line = lines[error.lineno - 1]
    for version, pattern in _NEWER:
        if sys.version_info < version and pattern.match(line):
            return ".".join(map(str, version))
    return None
