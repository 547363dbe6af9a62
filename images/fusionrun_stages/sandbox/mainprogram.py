"""Run a whole program with standard input, and return its standard output."""

import os
import sys
import threading
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from fusionrun_stages.sandbox.calls import describe_error
from fusionrun_stages.sandbox.preamble import Preamble
from fusionrun_stages.sandbox.prelude import build_prelude

OUTPUT_FILE = "standard-output"
"""In the program's folder: the limit for the size of a file applies."""


def run(program: str, stdin: str, preamble: Preamble) -> dict[str, Any]:
    """Run the program as ``__main__``; return its output, or the exception that ended it."""
    _replace_standard_streams(stdin.encode("utf-8", "surrogatepass"))
    space = {**build_prelude(), "__name__": "__main__", "__builtins__": __builtins__}
    ended: dict[str, Any] = {}
    if failed := preamble.run_for_program(space):
        return failed
    try:
        exec(compile(program, "solution.py", "exec", dont_inherit=True, optimize=0), space)  # noqa: S102
    except SystemExit as end:
        ended = {} if end.code in (None, 0) else {"raised": "SystemExit", "message": str(end.code)[:300]}
    except Exception as error:  # noqa: BLE001 (the program may raise anything)
        ended = describe_error(error)
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        ended = ended or describe_error(error)
    return ended or {"stdout": Path(OUTPUT_FILE).read_bytes().decode("utf-8", "replace")}


def _replace_standard_streams(text: bytes) -> None:
    """Make descriptor 0 a pipe with the text, and descriptor 1 a file."""
    reading, writing = os.pipe()
    os.dup2(reading, 0)
    os.close(reading)
    # The text may be longer than the buffer of a pipe.
    threading.Thread(target=_feed, args=(writing, text), daemon=True).start()
    output = os.open(OUTPUT_FILE, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(output, 1)
    os.close(output)
    sys.stdin = TextIOWrapper(os.fdopen(0, "rb", closefd=False), encoding="utf-8", errors="surrogateescape")
    sys.stdout = TextIOWrapper(os.fdopen(1, "wb", closefd=False), encoding="utf-8", errors="surrogateescape")


def _feed(descriptor: int, text: bytes) -> None:
    try:
        with os.fdopen(descriptor, "wb") as pipe:
            pipe.write(text)
    except OSError:
        pass  # the program has closed its standard input
