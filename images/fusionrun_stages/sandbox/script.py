"""In the program's process: call a function that reads a standard input, and return what it prints."""

import sys
from collections.abc import Callable
from io import StringIO
from typing import Any
from unittest.mock import mock_open, patch


def run_with_input(function: Callable[[], Any], text: str) -> str:
    """Call a function; return its standard output. SystemExit is not an error.

    Streams are replaced as LiveCodeBench's runner does it: ``sys.stdin`` is a text stream without ``buffer``; a
    reference to the standard input from before the call has ``read``, ``readline`` and ``readlines``, each with a
    position of its own; what is written to an earlier reference to the standard output is lost.

    Notes
    -----
    Source: LiveCodeBench, lcb_runner/evaluation/testing_util.py, ``call_method`` and ``Capturing``.
    """
    lines = iter(text.split("\n"))
    earlier, printed = sys.stdout, StringIO()
    with (
        patch("sys.stdin.read", lambda *_: text),
        patch("sys.stdin.readlines", lambda *_: text.split("\n")),
        patch("sys.stdin.readline", lambda *_: next(lines)),
        patch("sys.stdin", StringIO(text)),
        patch("builtins.open", mock_open(read_data=text)),
    ):
        sys.stdout = printed
        try:
            function()
        except SystemExit:
            pass
        finally:
            sys.stdout = earlier
    return printed.getvalue()
