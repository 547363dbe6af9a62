"""Coding: static analysis of the program, then the prompt's tests in the sandbox."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from fusionrun.api.records import VerdictValue
from fusionrun_stages.errors import InfrastructureError
from fusionrun_stages.grade import DISTURBED, Grade, disturbed, unknown, unusable, wrong
from fusionrun_stages.grading.coding.program import extract_program
from fusionrun_stages.grading.coding.static import analyse
from fusionrun_stages.grading.processes import ProcessDied, map_in_processes

if TYPE_CHECKING:
    from fusionrun_stages.sandbox.isolation import Isolation


READ_TOGETHER = 16
"""Responses that a process reads at once: one message for each would take longer than the reading."""


class Submission(NamedTuple):
    """A response, or the program in it, and the prompt's tests."""

    answer: str
    tests: tuple[str, ...]
    entry_point: str | None
    preamble: str = ""


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
    processes = processes or isolation().programs_at_once
    indexes: dict[Submission, list[int]] = defaultdict(list)  # equal programs are run once
    for index, found in _read_all(submissions, range(len(submissions)), processes):
        if isinstance(found, str):
            indexes[submissions[index]._replace(answer=found)].append(index)
        else:
            yield index, found
    again: list[Submission] = []
    for submission, grade in _grade(list(indexes), processes):
        if grade.detail.startswith(DISTURBED):
            again.append(submission)
        else:
            yield from ((index, grade) for index in indexes[submission])
    disturbed_again = False
    for submission, grade in _grade(again, 1):
        disturbed_again |= grade.detail.startswith(DISTURBED)
        yield from ((index, grade) for index in indexes[submission])
    if disturbed_again:
        check_that_programs_run()


def _read_all(
    submissions: Sequence[Submission], indexes: Sequence[int], processes: int, together: int = READ_TOGETHER
) -> Iterator[tuple[int, str | Grade]]:
    """Yield for each index the program or the grade (see ``_read``).

    Processes read them, since Python's parser gets what a model wrote: if one dies, its responses are read alone.
    """
    groups = [indexes[start : start + together] for start in range(0, len(indexes), together)]
    read = map_in_processes(lambda: _read_group, [[submissions[i] for i in group] for group in groups], processes)
    for number, found in read:
        if not isinstance(found, ProcessDied):
            yield from zip(groups[number], found, strict=True)
        elif together == 1:
            yield groups[number][0], unknown("the process that read it died")
        else:
            yield from _read_all(submissions, groups[number], 1, together=1)


def _read_group(submissions: list[Submission]) -> list[str | Grade]:
    return [_read(submission) for submission in submissions]


def _read(submission: Submission) -> str | Grade:
    """Return the program to run, or the grade of a response that needs no run."""
    if not submission.tests:
        return unusable("it has no tests")
    program = extract_program(*submission)
    return wrong("static: there is no program") if program is None else analyse(program) or program


def check_that_programs_run() -> None:
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
        try:
            return judge.grade(*submission)
        except InfrastructureError as error:
            return error  # an exception would kill the process, as if the program had done it

    return grade
