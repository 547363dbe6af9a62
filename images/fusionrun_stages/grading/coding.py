"""Coding: static analysis of the program, then the prompt's tests, in the sandbox."""

import ast
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from fusionrun.api.records import VerdictValue
from fusionrun_stages.errors import InfrastructureError
from fusionrun_stages.grade import DISTURBED, Grade, disturbed, unusable, wrong
from fusionrun_stages.grading.processes import Died, map_in_processes

if TYPE_CHECKING:
    from fusionrun_stages.sandbox.isolation import Walls

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


@cache
def walls() -> "Walls":
    """Prove once that programs can be run here.

    Raises
    ------
    UserError
        If the sandbox has network, or nothing keeps its programs apart.
    """
    from fusionrun_stages.sandbox.isolation import prove_walls

    return prove_walls()


def grade_all(programs: Sequence[Program], processes: int | None = None) -> Iterator[tuple[int, Grade]]:
    """Grade every program; yield its index and its grade as they come.

    Notes
    -----
    What its neighbours may have disturbed is run again at the end, one at a time; what is disturbed alone, too, is
    unknown: the runner's death tells nothing about a program for certain, since the node may have had no memory left.

    Raises
    ------
    UserError
        If the sandbox has network, or nothing keeps its programs apart: then no program is run.
    InfrastructureError
        If the runner has gone for good, or runs no program any more.
    """
    if not programs:
        return
    most = walls().programs_at_once
    places: dict[Program, list[int]] = defaultdict(list)  # a program that was written twice is run once
    for index, asked in enumerate(programs):
        places[asked._replace(answer=extract_program(asked.answer))].append(index)
    again: list[Program] = []
    for program, grade in _grade(list(places), processes or most):
        if grade.detail.startswith(DISTURBED):
            again.append(program)
        else:
            yield from ((index, grade) for index in places[program])
    disturbed_again = False
    for program, grade in _grade(again, 1):
        disturbed_again |= grade.detail.startswith(DISTURBED)
        yield from ((index, grade) for index in places[program])
    if disturbed_again:
        _prove_that_programs_run()


def _prove_that_programs_run() -> None:
    """Tell programs that cannot be judged from a sandbox that judges none, which must not pass for unknown verdicts."""
    ((_, grade),) = _grade([Program("def f():\n    return 1\n", ("assert f() == 1",), "f")], 1)
    if grade.verdict is not VerdictValue.RIGHT:
        raise InfrastructureError(f"the sandbox runs no program: {grade.detail}")


def _grade(programs: list[Program], processes: int) -> Iterator[tuple[Program, Grade]]:
    for number, grade in map_in_processes(_grader, programs, processes):
        if isinstance(grade, InfrastructureError):
            raise grade
        yield programs[number], disturbed("the grader died") if isinstance(grade, Died) else grade


def _grader() -> Callable[[Program], Grade | InfrastructureError]:
    from fusionrun_stages.sandbox.judge import Judge

    judge = Judge()

    def grade(asked: Program) -> Grade | InfrastructureError:
        if not asked.tests:
            return unusable("it has no tests")
        try:
            return analyse(asked.answer) or judge.grade(asked.answer, asked.tests, asked.entry_point)
        except InfrastructureError as error:
            return error  # an exception would be taken for the program's own doing

    return grade
