"""Run the steps of a prompt's tests. Used by both processes: the runner has only the standard library."""

import sys
import unittest
from typing import Any, Literal, NamedTuple

from fusionrun_stages.sandbox import pytest_names
from fusionrun_stages.sandbox.suite import LINE_MAX_CHARACTERS, PromptTests


class Result(NamedTuple):
    """Result of the tests.

    ``fault``: no program can be judged by them. ``missing``: they import a module that the image does not have; the
    detail is its name.
    """

    verdict: Literal["right", "wrong", "unknown", "fault", "missing"]
    detail: str = ""


def run_steps(  # noqa: PLR0911 (one line per outcome)
    suite: PromptTests, space: dict[str, Any], errors: list[Exception] | None = None
) -> Result:
    """Run all steps in one namespace; each must pass. Append the exception that ended them to ``errors``."""
    line = ""
    # Test programs call it as their last statement, and it would exit. suite.steps() runs their test cases.
    unittest.main = lambda *_, **__: None  # type: ignore[assignment]
    sys.modules["pytest"] = pytest_names.build_module()
    try:
        for source, step in suite.steps(space):
            line = source
            step()
    except AssertionError:
        return Result("wrong", f"failed: {line}")
    except ModuleNotFoundError as error:
        return Result("missing", str(error.name).partition(".")[0])
    except unittest.SkipTest as error:
        return Result("fault", f"its tests are skipped: {error}")
    except SystemExit:
        return Result("unknown", "the tests called exit")
    except MemoryError:
        return Result("unknown", "the tests used up their memory")
    except Exception as error:  # noqa: BLE001 (a wrong program may make its tests raise anything)
        if errors is not None:
            errors.append(error)
        return Result("wrong", f"raised: {describe(error)} in {line}")
    return Result("right")


def describe(error: Exception) -> str:
    """Return class and message of an exception."""
    return f"{type(error).__name__}: {str(error)[:LINE_MAX_CHARACTERS]}"
