"""Coding: static analysis of the program, then the prompt's tests in the sandbox."""

import ast
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from fusionrun.api.records import VerdictValue
from fusionrun_stages.errors import InfrastructureError
from fusionrun_stages.grade import DISTURBED, Grade, disturbed, unusable, wrong
from fusionrun_stages.grading.processes import ProcessDied, map_in_processes

if TYPE_CHECKING:
    from fusionrun_stages.sandbox.isolation import Isolation

PROGRAM_MAX_CHARACTERS = 65536

FORBIDDEN_MODULES = frozenset({
    "os", "posix", "nt", "subprocess", "_posixsubprocess", "multiprocessing", "signal", "pty", "resource", "ctypes",
    "_ctypes", "cffi", "mmap", "fcntl", "socket", "_socket", "socketserver", "ssl", "http", "urllib", "ftplib",
    "smtplib", "telnetlib", "xmlrpc", "requests", "importlib", "imp", "runpy", "pkgutil", "zipimport", "shutil",
    "webbrowser", "faulthandler",
})  # fmt: skip
"""Modules with access outside the program, which a coding prompt does not need (this project's list). The sandbox does
not rely on it."""

_FENCE = re.compile(r"^[ \t]*```[ \t]*(\w*)[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE)
_DEFINITION = re.compile(r"^(?:async )?(?:def|class) ", re.MULTILINE)


class Submission(NamedTuple):
    """A response, or the program in it, and the prompt's tests."""

    answer: str
    tests: tuple[str, ...]
    entry_point: str | None


def extract_program(answer: str) -> str:
    """Return the last fenced Python block with a definition, else the last block, else the response.

    The last block of a response often only shows how to call the function of the block before.
    """
    fences = _FENCE.findall(answer)
    blocks = [body for label, body in fences if label.lower() in ("python", "python3", "py")]
    blocks = blocks or [body for label, body in fences if not label]
    definitions = [block for block in blocks if _DEFINITION.search(block)]
    return str((definitions or blocks or [answer])[-1])


def analyse(program: str) -> Grade | None:
    """Return wrong for a syntax error or a forbidden import; None if the program must be run."""
    if len(program) > PROGRAM_MAX_CHARACTERS:
        return wrong(f"static: {len(program)} characters, more than {PROGRAM_MAX_CHARACTERS}")
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
def isolation() -> "Isolation":
    """Check the sandbox's isolation once per process."""
    from fusionrun_stages.sandbox.isolation import check_isolation

    return check_isolation()


def grade_all(submissions: Sequence[Submission], processes: int | None = None) -> Iterator[tuple[int, Grade]]:
    """Check the isolation, then grade every submission; yield its index and its grade when it is complete.

    A disturbed program is run again at the end, alone. If it is disturbed again, it is unknown: the runner may have
    died because the node is out of memory, so the program may be right.
    """
    if not submissions:
        return
    programs_at_once = isolation().programs_at_once
    indexes: dict[Submission, list[int]] = defaultdict(list)  # equal programs are run once
    for index, submission in enumerate(submissions):
        indexes[submission._replace(answer=extract_program(submission.answer))].append(index)
    again: list[Submission] = []
    for submission, grade in _grade(list(indexes), processes or programs_at_once):
        if grade.detail.startswith(DISTURBED):
            again.append(submission)
        else:
            yield from ((index, grade) for index in indexes[submission])
    disturbed_again = False
    for submission, grade in _grade(again, 1):
        disturbed_again |= grade.detail.startswith(DISTURBED)
        yield from ((index, grade) for index in indexes[submission])
    if disturbed_again:
        _check_that_programs_run()


def _check_that_programs_run() -> None:
    """Run a known program: a sandbox that cannot run any must fail the stage, not return unknown verdicts."""
    ((_, grade),) = _grade([Submission("def f():\n    return 1\n", ("assert f() == 1",), "f")], 1)
    if grade.verdict is not VerdictValue.RIGHT:
        raise InfrastructureError(f"the sandbox cannot run programs: {grade.detail}")


def _grade(submissions: list[Submission], processes: int) -> Iterator[tuple[Submission, Grade]]:
    for number, grade in map_in_processes(_grader, submissions, processes):
        if isinstance(grade, InfrastructureError):
            raise grade
        yield submissions[number], disturbed("the grader died") if isinstance(grade, ProcessDied) else grade


def _grader() -> Callable[[Submission], Grade | InfrastructureError]:
    from fusionrun_stages.sandbox.judge import Judge

    judge = Judge()

    def grade(submission: Submission) -> Grade | InfrastructureError:
        if not submission.tests:
            return unusable("it has no tests")
        try:
            return analyse(submission.answer) or judge.grade(*submission)
        except InfrastructureError as error:
            return error  # an exception would kill the process, as if the program had done it

    return grade
