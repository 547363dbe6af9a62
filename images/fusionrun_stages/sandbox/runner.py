"""The runner: a warm process that forks one confined process per program.

``python -m fusionrun_stages.sandbox.runner --socket /run/sandbox/runner.sock --folders /programs/0 /programs/1``

Each of the judge's workers has a connection of its own and, behind it, a handler. On it, one after the other::

    P                        probe the network                  -> {"reached": [...]} or {"unreadable": why}
    R + a socket, {program}  run the program, its channel the socket
    S                        stop it, whatever it does          -> {"signal": 24, "cpu_seconds": 5.0, ...}
    G                        the same, but it has gone already: say how
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
from fusionrun_stages.sandbox.confine import Limits, adopt_orphans, hide
from fusionrun_stages.sandbox.folders import Places, find_excess, program_folder
from fusionrun_stages.sandbox.prelude import build_prelude
from fusionrun_stages.sandbox.wire import receive, send

PROBE, RUN, STOP, GONE = b"P", b"R", b"S", b"G"
WATCH_SECONDS = 0.1
"""How often a program's folder is looked into. Most programs are done before."""
GONE_SECONDS = 1.0
"""How long a process may take to end after its channel has closed."""


def serve(path: Path, folders: Sequence[Path] = ()) -> NoReturn:
    """Accept the judge's connections for ever, one process and one folder for each."""
    build_prelude()  # what programs import is imported once, here
    hide()
    signal.signal(signal.SIGTERM, _end)  # as process 1 of a container it would not end otherwise
    places = Places(folders)
    with socket.socket(socket.AF_UNIX) as listener:
        with suppress(FileNotFoundError):
            path.unlink()
        listener.bind(str(path))
        path.chmod(0o666)  # two containers see the folder, each under its own UID
        listener.listen(64)
        print(f"runner: ready on {path}", flush=True)  # noqa: T201 (the pod's log)
        while True:
            control, _ = listener.accept()
            with control:
                folder = places.take()
                try:
                    handler = os.fork()
                except OSError as error:  # no more processes for now: the judge sees its connection close, and waits
                    print(f"runner: {error}", flush=True)  # noqa: T201
                    places.give_back(folder)
                    continue
                if handler == 0:
                    listener.close()
                    _handle(control, folder)
                places.hold(handler, folder)


def _end(_signal: int, _frame: FrameType | None) -> NoReturn:
    os._exit(0)


def _handle(control: socket.socket, place: Path) -> NoReturn:
    """Serve one connection until the judge closes it."""
    adopt_orphans()
    try:
        while True:
            request, descriptors, _, _ = socket.recv_fds(control, 1, 1)
            if request == PROBE:
                send(control, _look())
            elif request == RUN:
                with socket.socket(fileno=descriptors[0]) as channel, program_folder(place) as folder:
                    child = _start(channel, receive(control), folder)
                    channel.close()
                    report = _watch(control, child, folder)
                send(control, report)
            else:
                break
    except BaseException as error:  # noqa: BLE001 (a handler must never go on as a second listener)
        print(f"runner: {type(error).__name__}: {error}", flush=True)  # noqa: T201
    os._exit(0)


def _look() -> dict[str, Any]:
    try:
        return {"reached": probe.look()}
    except (OSError, ValueError) as error:
        return {"unreadable": str(error)}


def _start(channel: socket.socket, request: dict[str, Any], folder: Path) -> int:
    child = os.fork()
    if child == 0:
        candidate.run(channel, request["program"], Limits(**request["limits"]), folder)
    return child


def _watch(control: socket.socket, child: int, folder: Path) -> dict[str, Any]:
    """Wait for the judge's word, end whatever is left of the program, and say what it used."""
    started = time.monotonic()
    excess = None
    try:
        while not select.select([control], [], [], WATCH_SECONDS)[0]:
            excess = excess or find_excess(folder)
            if excess:
                os.kill(child, signal.SIGKILL)
        # No word means that the judge has gone: then the program goes, too.
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
    """Tell whether a child has ended by itself, without reaping it."""
    deadline = time.monotonic() + seconds
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.002)
    return True


def _reap_strays() -> None:
    """End every process that the program left behind: as their adopter we see them all."""
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
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(description="Run programs that cannot be trusted, for the judge.")
    parser.add_argument("--socket", type=Path, required=True, help="where to listen; the folder must exist")
    parser.add_argument(
        "--folders",
        type=Path,
        nargs="*",
        default=[],
        help="where programs run, one each at a time; temporary ones if none",
    )
    arguments = parser.parse_args()
    serve(arguments.socket, arguments.folders)


if __name__ == "__main__":
    main()
