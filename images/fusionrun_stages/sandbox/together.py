"""In the program's process: run the program and its tests together, as plain Python would.

The program can change the code that judges it, so a success here never makes a verdict right. A verdict of the proxies
that differs becomes unknown.
"""

import sys
from types import ModuleType
from typing import Any

from fusionrun_stages.sandbox.preamble import Preamble
from fusionrun_stages.sandbox.prelude import build_prelude
from fusionrun_stages.sandbox.steps import run_steps
from fusionrun_stages.sandbox.suite import PromptTests


def run(program: str, tests: list[str], entry_point: str | None, preamble: Preamble) -> dict[str, Any]:
    """Run both in one namespace; return ``{"together": verdict, "detail": ...}``."""
    module = ModuleType("solution")
    sys.modules["solution"] = module
    space = module.__dict__
    space.update(build_prelude())
    try:
        suite = PromptTests(tests, entry_point, preamble.text)
        preamble.run(space)
        exec(compile(program, "solution.py", "exec", dont_inherit=True, optimize=0), space)  # noqa: S102
        space["__name__"] = "__main__"
        result = run_steps(suite, space)
    except BaseException as error:  # noqa: BLE001 (program and tests may raise anything)
        return {"together": "wrong", "detail": type(error).__name__}
    return {"together": result.verdict, "detail": result.detail}
