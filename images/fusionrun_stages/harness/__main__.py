"""The process of the harness: one action, with its arguments on stdin and its messages on stdout.

Each message is a JSON object in a line: ``progress`` with ``numbers``, then ``result``, or ``error`` with ``message``.
Whatever the libraries print is dropped, and their loggers show errors only.
"""

import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from fusionrun_stages.errors import StageError, classify
from fusionrun_stages.harness.download import describe, load_data
from fusionrun_stages.harness.measure import measure_task
from fusionrun_stages.work import Report

ACTIONS: dict[str, Callable[..., Any]] = {"describe": describe, "load": load_data, "measure": measure_task}


def main() -> None:
    """Run the action of the command line."""
    messages = _take_stdout()
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("fusionrun_stages").setLevel(logging.INFO)
    arguments = json.load(sys.stdin)
    for name in ("folder", "include", "output", "questions"):
        if arguments.get(name) is not None:
            arguments[name] = Path(arguments[name])
    try:
        result = ACTIONS[sys.argv[1]](**arguments, report=_reporter(messages))
    except Exception as raised:  # noqa: BLE001 -- the parent raises it
        error = raised if isinstance(raised, StageError) else classify(raised)
        _write(messages, {"error": type(error).__name__, "message": str(error)})
    else:
        _write(messages, {"result": result})


def _take_stdout() -> IO[str]:
    """Return the parent's pipe; what is printed from now on is dropped."""
    messages = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.close(nothing)
    return messages


def _write(messages: IO[str], message: dict[str, Any]) -> None:
    messages.write(json.dumps(message) + "\n")
    messages.flush()


def _reporter(messages: IO[str]) -> Report:
    def report(done: int, total: int, unit: str = "", **numbers: float) -> None:
        _write(messages, {"progress": [done, total, unit], "numbers": numbers})

    return report


if __name__ == "__main__":
    main()
