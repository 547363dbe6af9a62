"""The runner: a warm process that forks one confined process per program.

``python -m fusionrun_stages.sandbox.runner --socket /run/sandbox/runner.sock``

Each of the judge's workers has a connection of its own and, behind it, a handler. On it, one after the other::

    P                        probe the network                  -> {"reached": [...]}
    R + a socket, {program}  run the program, its channel the socket
    S                        stop it, whatever it does          -> {"signal": 24, "cpu_seconds": 5.0, ...}
"""

import argparse
import os
import shutil
import signal
import socket
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from fusionrun_stages.sandbox import candidate, probe
from fusionrun_stages.sandbox.confine import Limits, adopt_orphans, hide
from fusionrun_stages.sandbox.prelude import build_prelude
from fusionrun_stages.sandbox.wire import receive, send

PROBE, RUN, STOP = b"P", b"R", b"S"


def serve(path: Path) -> NoReturn:
    """Accept the judge's connections for ever, one process for each."""
    build_prelude()  # what programs import is imported once, here
    hide()
    signal.signal(signal.SIGTERM, _end)  # as process 1 of a container it would not end otherwise
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        with suppress(FileNotFoundError):
            path.unlink()
        listener.bind(str(path))
        path.chmod(0o666)  # two containers see the folder, each under its own UID
        listener.listen(64)
        print(f"runner: ready on {path}", flush=True)  # noqa: T201 (the pod's log)
        while True:
            control, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _handle(control)
            control.close()


def _end(_signal: int, _frame: FrameType | None) -> NoReturn:
    os._exit(0)


def _handle(control: socket.socket) -> NoReturn:
    """Serve one connection until the judge closes it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    adopt_orphans()
    try:
        while True:
            request, descriptors, _, _ = socket.recv_fds(control, 1, 1)
            if request == PROBE:
                send(control, {"reached": probe.reach(probe.find_targets())})
            elif request == RUN:
                with socket.socket(fileno=descriptors[0]) as channel:
                    child, folder = _start(channel, receive(control))
                send(control, _watch(control, child, folder))
            else:
                break
    except BaseException as error:  # noqa: BLE001 (a handler must never go on as a second listener)
        print(f"runner: {type(error).__name__}: {error}", flush=True)  # noqa: T201
    os._exit(0)


def _start(channel: socket.socket, request: dict[str, Any]) -> tuple[int, Path]:
    folder = Path(tempfile.mkdtemp(prefix="program-"))
    child = os.fork()
    if child == 0:
        candidate.run(channel, request["program"], Limits(**request["limits"]), folder)
    return child, folder


def _watch(control: socket.socket, child: int, folder: Path) -> dict[str, Any]:
    """Wait for the judge's word, end whatever is left of the program, and say what it used."""
    started = time.monotonic()
    try:
        control.recv(1)  # STOP; nothing means that the judge has gone: then the program goes, too
    finally:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)
        _, status, used = os.wait4(child, 0)
        _reap_strays()
        _wipe(folder)
    return {
        "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
        "code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "memory_bytes": used.ru_maxrss * 1024,
        "wall_seconds": time.monotonic() - started,
    }


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


def _wipe(folder: Path) -> None:
    """Remove a program's folder, also what it made unreadable."""
    for place, folders, _ in os.walk(folder):
        for name in folders:
            with suppress(OSError):
                os.chmod(Path(place) / name, 0o700, follow_symlinks=True)  # noqa: PTH101
    shutil.rmtree(folder, ignore_errors=True)


def main() -> NoReturn:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(description="Run programs that cannot be trusted, for the judge.")
    parser.add_argument("--socket", type=Path, required=True, help="where to listen; the folder must exist")
    serve(parser.parse_args().socket)


if __name__ == "__main__":
    main()
