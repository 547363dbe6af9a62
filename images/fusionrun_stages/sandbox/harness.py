"""Run a prompt's tests against a program in another process, and return the grade."""

import builtins
import unittest
from collections.abc import Sequence
from typing import Any

from fusionrun.api.records import VerdictValue
from fusionrun_stages.grade import Grade, disturbed, right, unknown, unusable, wrong
from fusionrun_stages.sandbox.prelude import build_prelude
from fusionrun_stages.sandbox.proxies import NotPlainError, ProgramGoneError, RemoteProgram
from fusionrun_stages.sandbox.suite import LINE_MAX_CHARACTERS, PromptTests


def run_tests(program: RemoteProgram, tests: Sequence[str], entry_point: str | None) -> Grade:
    """Run all tests in one namespace; each must pass.

    ``tests`` are statements or test programs (see ``suite``). ``entry_point`` is an expression for the function under
    test: ``f`` or ``Solution().twoSum``.
    """
    try:
        suite = PromptTests(tests, entry_point)
        fault = suite.find_fault()
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return unusable(f"its tests are not valid Python: {error}")
    if fault:
        return unusable(fault)
    try:
        names = program.names()
    except (ProgramGoneError, NotPlainError):
        return _unless_ended(program, wrong())
    except Exception as error:  # noqa: BLE001 (the program may raise anything)
        return wrong(f"not loaded: {_describe(error)}")
    space, ambiguous = _build_namespace(names, suite, entry_point)
    grade = _run(program, space, suite)
    if grade.verdict is VerdictValue.WRONG and (both := sorted(ambiguous & suite.used)):
        grade = unknown(f"{both[0]} is defined by Python and by the program: the entry point must name the tested one")
    return _unless_ended(program, grade)


def _unless_ended(program: RemoteProgram, grade: Grade) -> Grade:
    """Return the grade, or that of a program that has ended: a bare ``except:`` in a test may have caught the error."""
    if program.gone:
        return wrong(f"ended: {program.gone}") if program.started else disturbed(program.gone)
    return unknown(f"not plain: {program.not_plain}") if program.not_plain else grade


def _run(  # noqa: PLR0911 (one line per outcome)
    program: RemoteProgram, space: dict[str, Any], suite: PromptTests
) -> Grade:
    line = ""
    # Test programs call it as their last statement, and it would exit. suite.steps() runs their test cases.
    unittest.main = lambda *_, **__: None  # type: ignore[assignment]
    try:
        for source, step in suite.steps(space):
            line = source
            step()
    except AssertionError:
        return wrong(f"failed: {line}")
    except (ProgramGoneError, NotPlainError):
        return wrong()
    except ModuleNotFoundError as error:
        return unusable(f"its tests need a missing module: {error}")
    except unittest.SkipTest as error:
        return unusable(f"its tests are skipped: {error}")
    except SystemExit:
        return unknown("the tests called exit")
    except MemoryError:
        return unknown("the tests used up their memory")
    except Exception as error:  # noqa: BLE001 (a wrong program may make its tests raise anything)
        return wrong(f"raised: {_describe(error)} in {line}")
    return right() if program.calls else unknown("no test calls the program")


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:LINE_MAX_CHARACTERS]}"


def _build_namespace(
    names: dict[str, Any], suite: PromptTests, entry_point: str | None
) -> tuple[dict[str, Any], frozenset[str]]:
    """Return a namespace in which the program shadows no builtin and no name of the prelude or the tests.

    Exception: if the entry point is the name of a builtin, such as ``sum``, it is the program's function. Return also
    the names of the program that were left out: a test may refer to them.
    """
    space = build_prelude()
    space["__builtins__"] = builtins
    ambiguous = {name for name in names if name in space or hasattr(builtins, name)} - {entry_point}
    space |= {k: v for k, v in names.items() if k.isidentifier() and k not in ambiguous and k not in suite.defined}
    return space, frozenset(ambiguous)
