"""Stages in processes that are forked from one with all libraries imported, and killed at a given time."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

Run = Callable[[dict[str, Any], float | None], int]
"""Runs a request of ``support.fork_server``, kills it after some seconds if it still runs; returns its wait status."""


@contextmanager
def forking(environment: dict[str, str]) -> Iterator[Run]:
    """Start a fork server with more environment variables; yield what runs a stage in it, one at a time."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("KUBERNETES_SERVICE_HOST", "RANK", "LOCAL_RANK")}
    path = f"{ROOT}/operator:{ROOT}/images:{ROOT}/tests"
    everything = inherited | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"} | environment
    command = [sys.executable, "-m", "support.fork_server"]
    with subprocess.Popen(
        command, env=everything, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as fork_server:
        assert fork_server.stdout.readline() == "ready\n"

        def run(request: dict[str, Any], kill_after: float | None) -> int:
            print(json.dumps(request), file=fork_server.stdin, flush=True)
            child = int(fork_server.stdout.readline())
            timer = threading.Timer(kill_after, _kill, (child,)) if kill_after is not None else None
            if timer is not None:
                timer.start()
            status = int(fork_server.stdout.readline())
            if timer is not None:
                timer.cancel()
                timer.join()
            return status

        yield run
        fork_server.stdin.close()


def killed(status: int) -> bool:
    """Return whether a process with this wait status was killed."""
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def _kill(process: int) -> None:
    with suppress(ProcessLookupError):  # it may have ended already
        os.kill(process, signal.SIGKILL)
