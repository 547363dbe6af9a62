"""Check the function of a program, as benchmarks do that compare its results themselves."""

from collections.abc import Callable, Iterator
from typing import Any

from fusionrun_stages.grade import Grade, right, wrong
from fusionrun_stages.sandbox.harness import unless_ended
from fusionrun_stages.sandbox.proxies import NotPlainError, ProgramGoneError, RemoteProgram
from fusionrun_stages.sandbox.steps import describe


def run_checks(
    program: RemoteProgram, load: Callable[[], Any], wanted: str, failures: Callable[[Any], Iterator[str]]
) -> Grade:
    """Return the grade of a program; stop at its first failure.

    Parameters
    ----------
    load
        Loads the program and returns its function; None if it does not define it.
    wanted
        What the program must define.
    failures
        Calls the function and yields each failure.
    """
    grade = right()
    try:
        function = load()
        if function is None:
            return wrong(f"it does not define {wanted}")
        if (failure := next(failures(function), None)) is not None:
            grade = wrong(f"failed: {failure}")
    except (ProgramGoneError, NotPlainError):
        grade = wrong()
    except Exception as error:  # noqa: BLE001 (the program may raise anything)
        grade = wrong(f"raised: {describe(error)}")
    return unless_ended(program, grade)
