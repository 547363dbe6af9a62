"""The runner: a server that forks one confined process per program.

``python -m fusionrun_stages.sandbox.runner --socket /run/sandbox/runner.sock --folders /programs/0 /programs/1``

Each worker of the judge has one connection, served by one handler process. Requests (``wire``), one at a time::

    P                        check the network access           -> {"reached": [...]} or {"unreadable": reason}
    R + a socket, {limits, wakeup}
                             start a process for the program that comes through the socket
    S                        stop the program                   -> {"signal": 24, "cpu_seconds": 5.0, ...}
    G                        the same, after the program has ended by itself
"""

import argparse
import os
import select
import signal
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from fusionrun_stages.sandbox import candidate, probe
from fusionrun_stages.sandbox.confine import ResourceLimits, adopt_orphans, forbid_tracing
from fusionrun_stages.sandbox.folders import FolderPool, find_excess, program_folder
from fusionrun_stages.sandbox.prelude import build_prelude
from fusionrun_stages.sandbox.wire import GONE, PROBE, RUN, receive, send

WATCH_SECONDS = 0.1
"""Interval of the checks of a program's folder. Most programs end earlier."""
GONE_SECONDS = 1.0
"""Maximum time between the close of the channel and the end of the process."""


def serve(path: Path, folders: Sequence[Path] = ()) -> NoReturn:
    """Accept the judge's connections; start one process with one folder for each."""
    build_prelude()  # import the modules of the prelude once, before the forks
    forbid_tracing()
    signal.signal(signal.SIGTERM, _end)  # process 1 of a container ignores SIGTERM by default
    pool = FolderPool(folders)
    with socket.socket(socket.AF_UNIX) as listener:
        with suppress(FileNotFoundError):
            path.unlink()
        listener.bind(str(path))
        path.chmod(0o666)  # the judge has another UID
        listener.listen(64)
        print(f"runner: ready on {path}", flush=True)  # noqa: T201 (the pod's log)
        while True:
            control, _ = listener.accept()
            with control:
                folder = pool.take()
                try:
                    handler = os.fork()
                except OSError as error:  # the process limit: the connection closes, and the judge connects again
                    print(f"runner: {error}", flush=True)  # noqa: T201
                    pool.give_back(folder)
                    continue
                if handler == 0:
                    listener.close()
                    _handle(control, folder)
                pool.assign(handler, folder)


def _end(_signal: int, _frame: FrameType | None) -> NoReturn:
    os._exit(0)


def _handle(control: socket.socket, parent: Path) -> NoReturn:
    """Serve one connection until the judge closes it."""
    adopt_orphans()
    try:
        while True:
            request, descriptors, _, _ = socket.recv_fds(control, 1, 1)
            if request == PROBE:
                send(control, _probe())
            elif request == RUN:
                with socket.socket(fileno=descriptors[0]) as channel, program_folder(parent) as folder:
                    child = _start(channel, receive(control), folder)
                    channel.close()
                    report = _watch(control, child, folder)
                send(control, report)
            else:
                break
    except BaseException as error:  # noqa: BLE001 (a handler must never return to the accept loop)
        print(f"runner: {type(error).__name__}: {error}", flush=True)  # noqa: T201
    os._exit(0)


def _probe() -> dict[str, Any]:
    try:
        return {"reached": probe.find_reachable()}
    except (OSError, ValueError) as error:
        return {"unreadable": str(error)}


def _start(channel: socket.socket, request: dict[str, Any], folder: Path) -> int:
    child = os.fork()
    if child == 0:
        candidate.run(channel, ResourceLimits(**request["limits"]), folder, wakeup=request["wakeup"])
    return child


def _watch(control: socket.socket, child: int, folder: Path) -> dict[str, Any]:
    """Wait for the judge's request, kill the program and its descendants, and return their resource use."""
    started = time.monotonic()
    excess = None
    try:
        while not select.select([control], [], [], WATCH_SECONDS)[0]:
            excess = excess or find_excess(folder)
            if excess:
                os.kill(child, signal.SIGKILL)
        # An empty read means that the judge has closed the connection: kill the program then, too.
        gone = _has_ended(child, GONE_SECONDS if control.recv(1) == GONE else 0.0)
    finally:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)
        _, status, used = os.wait4(child, 0)
        _reap_strays()
    return {
        "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
        "code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
        "killed_by_us": excess is not None or not gone,
        "excess": excess,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "memory_bytes": used.ru_maxrss * 1024,
        "wall_seconds": time.monotonic() - started,
    }


def _has_ended(child: int, seconds: float) -> bool:
    """Return whether a child has ended by itself, without reaping it."""
    deadline = time.monotonic() + seconds
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.002)
    return True


def _reap_strays() -> None:
    """Kill every process that the program left behind. This process is their subreaper, so it sees all of them."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    while True:
        with suppress(FileNotFoundError, PermissionError):
            for stray in children.read_text(encoding="ascii").split():
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(int(stray), signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def main() -> NoReturn:
    """Parse the arguments and serve."""
    parser = argparse.ArgumentParser(description="Run untrusted programs for the judge.")
    parser.add_argument("--socket", type=Path, required=True, help="path to listen on; its folder must exist")
    parser.add_argument(
        "--folders", type=Path, nargs="*", default=[], help="one per program at once (default: temporary folders)"
    )
    arguments = parser.parse_args()
    serve(arguments.socket, arguments.folders)


if __name__ == "__main__":
    main()
