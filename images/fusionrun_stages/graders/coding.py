"""Coding: static analysis of the program, then the prompt's tests, in the sandbox."""

import ast
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from fusionrun_stages.graders import Grade, unknown, unusable, wrong
from fusionrun_stages.graders.processes import Died, count_cpus, map_in_processes

PROGRAM_MAX_CHARACTERS = 65536

FORBIDDEN_MODULES = frozenset({
    "os", "posix", "nt", "subprocess", "_posixsubprocess", "multiprocessing", "signal", "pty", "resource", "ctypes",
    "_ctypes", "cffi", "mmap", "fcntl", "socket", "_socket", "socketserver", "ssl", "http", "urllib", "ftplib",
    "smtplib", "telnetlib", "xmlrpc", "requests", "importlib", "imp", "runpy", "pkgutil", "zipimport", "shutil",
    "webbrowser", "faulthandler",
})  # fmt: skip
"""Modules that no exercise needs and that reach out of the program (ours); the sandbox does not rely on it."""

_FENCE = re.compile(r"^[ \t]*```[ \t]*(\w*)[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE)
_DEFINITION = re.compile(r"^(?:async )?(?:def|class) ", re.MULTILINE)


class Program(NamedTuple):
    """An answer, or the program in it, and the tests that judge it."""

    answer: str
    tests: tuple[str, ...]
    entry_point: str | None


def extract_program(answer: str) -> str:
    """Return the last fenced block of Python that defines something, else the last one, else the whole text.

    Notes
    -----
    Answers often end in a block that only shows how to call what the block before defines.
    """
    fences = _FENCE.findall(answer)
    blocks = [body for label, body in fences if label.lower() in ("python", "python3", "py")]
    blocks = blocks or [body for label, body in fences if not label]
    if not blocks:
        return answer
    definitions = [block for block in blocks if _DEFINITION.search(block)]
    program: str = (definitions or blocks)[-1]
    return program


def analyse(program: str) -> Grade | None:
    """Judge a program without running it: a syntax error or a forbidden import is wrong; None when it must be run."""
    if len(program) > PROGRAM_MAX_CHARACTERS:
        return wrong(f"static: {len(program)} characters are too many for a program")
    try:
        tree = ast.parse(program)
    except SyntaxError as error:
        return wrong(f"static: {error.msg} in line {error.lineno}")
    except (ValueError, RecursionError, MemoryError) as error:
        return wrong(f"static: {type(error).__name__}")
    for node in ast.walk(tree):
        for module in _imported(node):
            if module.split(".")[0] in FORBIDDEN_MODULES:
                return wrong(f"static: it imports {module}")
    return None


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [name.name for name in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def grade_all(programs: Sequence[Program], processes: int | None = None) -> Iterator[tuple[int, Grade]]:
    """Grade every program; yield its index and its grade as they come.

    Raises
    ------
    UserError
        If the sandbox has network: then no program is run.
    """
    from fusionrun_stages.sandbox.judge import prove_no_network

    if not programs:
        return
    prove_no_network()
    places: dict[Program, list[int]] = defaultdict(list)  # a program that was written twice is run once
    for index, asked in enumerate(programs):
        places[asked._replace(answer=extract_program(asked.answer))].append(index)
    distinct = list(places)
    for number, grade in map_in_processes(_grader, distinct, processes or count_cpus()):
        for index in places[distinct[number]]:
            yield index, unknown("the grader died") if isinstance(grade, Died) else grade


def _grader() -> Callable[[Program], Grade]:
    from fusionrun_stages.sandbox.judge import Judge

    judge = Judge()

    def grade(asked: Program) -> Grade:
        if not asked.tests:
            return unusable("it has no tests")
        return analyse(asked.answer) or judge.grade(asked.answer, asked.tests, asked.entry_point)

    return grade
