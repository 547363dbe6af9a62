"""Run a prompt's tests against a program in another process, and return the grade."""

import builtins
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from fusionrun.api.records import VerdictValue
from fusionrun_stages.grade import MISSING_MODULE, NOT_PERMITTED, Grade, disturbed, unknown, unusable, wrong
from fusionrun_stages.sandbox.names import is_provided
from fusionrun_stages.sandbox.namespaces import Namespace, RemoteModule
from fusionrun_stages.sandbox.preamble import Classes
from fusionrun_stages.sandbox.prelude import build_prelude
from fusionrun_stages.sandbox.proxies import NotPlainError, ProgramGoneError, RemoteProgram
from fusionrun_stages.sandbox.steps import describe, run_steps
from fusionrun_stages.sandbox.suite import PromptTests


class Outcome(NamedTuple):
    """A grade, and what must be run again before it is final (see ``judge``)."""

    grade: Grade
    unchanged: bool = False
    """Run the tests without the program's changes to its arguments."""
    together: bool = False
    """Run program and tests in one process."""


def run_tests(
    program: RemoteProgram, code: str, tests: Sequence[str], entry_point: str | None, preamble: str = ""
) -> Outcome:
    """Run all tests in one namespace; each must pass.

    ``tests`` are statements or test programs (see ``suite``). ``entry_point`` is an expression for the function under
    test: ``f`` or ``Solution().twoSum``. ``preamble`` is valid Python that runs before the program and the tests.
    """
    try:
        suite = PromptTests(tests, entry_point, preamble)
        fault = suite.find_fault()
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return Outcome(unusable(f"its tests are not valid Python: {error}"))
    if fault:
        return Outcome(unusable(fault))
    space = Namespace(program)
    if fault := _fill(space, suite):
        return Outcome(unusable(fault))
    try:
        names = program.load(code, preamble)
    except (ProgramGoneError, NotPlainError):
        return Outcome(unless_ended(program, wrong()))
    except Exception as error:  # noqa: BLE001 (the program may raise anything)
        return Outcome(unless_ended(program, wrong(f"not loaded: {describe(error)}")))
    _add_program(space, names, suite)
    return _judge(program, names, suite, space)


def _judge(program: RemoteProgram, names: dict[str, Any], suite: PromptTests, space: Namespace) -> Outcome:
    if (names.keys() - {suite.root}) & suite.preamble.defined:
        program.inexact = True  # in one process, the tests would use the program's definition
    errors: list[Exception] = []
    try:
        verdict, detail = run_steps(suite, space, errors)
        if verdict in ("fault", "missing"):
            return Outcome(unusable(MISSING_MODULE + detail if verdict == "missing" else detail))
        grade = Grade(VerdictValue(verdict), detail)
    except (ProgramGoneError, NotPlainError):
        grade = wrong()
    if grade.verdict is VerdictValue.RIGHT:
        grade = _accept(program, suite, grade)
    elif grade.verdict is VerdictValue.WRONG:
        grade = _explain(names, suite, grade, errors)
    grade = unless_ended(program, grade)
    if grade.verdict is VerdictValue.RIGHT:
        return Outcome(grade, unchanged=program.changed and suite.compares_changes(), together=program.inexact)
    by_tests = bool(errors) and errors[0] is not program.raised and not isinstance(errors[0], NameError)
    caught = program.raised is not None and program.raised not in errors
    doubt = program.special or program.inexact or by_tests or caught or suite.shares_state
    doubt &= not program.gone or suite.expects_exit
    return Outcome(grade, together=grade.verdict is VerdictValue.WRONG and doubt)


def _accept(program: RemoteProgram, suite: PromptTests, grade: Grade) -> Grade:
    """Return the grade of a program that passes, unless no test has called it, or it judged itself."""
    if not program.calls:
        return unknown("no test called the program")
    if name := suite.find_judge():
        return unknown(f"{name} of the program decides on the program's results")
    return grade


def _explain(names: dict[str, Any], suite: PromptTests, grade: Grade, errors: list[Exception]) -> Grade:
    """Return the grade of a program that fails, unless the tests are at fault."""
    ambiguous = sorted(n for n in names if n in suite.used and n not in {suite.root, *suite.defined} and is_provided(n))
    if ambiguous:
        return unknown(
            f"{ambiguous[0]} is defined by Python and by the program: the entry point must name the tested one"
        )
    if not (errors and isinstance(errors[0], NameError)) or errors[0].name is None:
        return grade
    name = errors[0].name
    if suite.root is not None:
        return grade if name == suite.root else unusable(f"its tests use {name}, which they do not define")
    if name in suite.free and len(suite.free) > 1 and suite.free & names.keys():
        return unknown(f"the tests use {name}, which neither they nor the program define")
    return grade


def unless_ended(  # noqa: PLR0911 (one line per outcome)
    program: RemoteProgram, grade: Grade
) -> Grade:
    """Return the grade, or that of a program that has ended, or that lacked a module, a resource or a permission.

    A bare ``except:`` in a test may have caught the error.
    """
    if program.late:
        return disturbed(f"late: {program.gone}")
    if program.gone:
        return wrong(f"ended: {program.gone}") if program.started else disturbed(program.gone)
    if program.not_plain:
        return unknown(f"not plain: {program.not_plain}")
    if grade.verdict is VerdictValue.WRONG and program.missing:
        return unknown(MISSING_MODULE + program.missing)
    if grade.verdict is VerdictValue.WRONG and program.shortage:
        return disturbed(program.shortage)
    if grade.verdict is VerdictValue.WRONG and program.denied:
        return unknown(NOT_PERMITTED + program.denied)
    return grade


def _fill(space: Namespace, suite: PromptTests) -> str | None:
    """Give the tests the names of the prelude and the preamble; return why the preamble cannot be used, or None."""
    space.update(build_prelude())
    space.update(__builtins__=builtins, __name__="__main__")
    try:
        suite.preamble.run(space)
    except ModuleNotFoundError as error:
        return MISSING_MODULE + str(error.name).partition(".")[0]
    except Exception as error:  # noqa: BLE001 (it may raise anything)
        return f"its preamble raises {describe(error)}"
    space.program.classes = Classes(suite.preamble, space)
    return None


def _add_program(space: Namespace, names: dict[str, Any], suite: PromptTests) -> None:
    """Give the tests the names of the program: it shadows no builtin, and no name of prelude, preamble or tests.

    Exception: if the entry point is the name of a builtin, such as ``sum``, it is the program's function.
    """
    if suite.root in names and suite.root in space:
        del space[suite.root]
    space.add(names, suite.allowed)
    sys.modules["solution"] = RemoteModule(space.program, names)
