"""The judge's side: a connection to the runner, and one test process per program."""

import json
import os
import select
import signal
import socket
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from fusionrun.api.records import VerdictValue
from fusionrun_stages.errors import InfrastructureError, UserError
from fusionrun_stages.graders import Grade, unknown, wrong
from fusionrun_stages.sandbox.confine import Limits, confine
from fusionrun_stages.sandbox.harness import run_tests
from fusionrun_stages.sandbox.prelude import build_prelude
from fusionrun_stages.sandbox.proxies import Program
from fusionrun_stages.sandbox.runner import PROBE, RUN, STOP
from fusionrun_stages.sandbox.wire import FrameError, receive, send

SOCKET_ENV, PROBE_ENV = "FUSIONRUN_SANDBOX_SOCKET", "FUSIONRUN_SANDBOX_PROBE"
SOCKET = "/run/sandbox/runner.sock"

CPU_SECONDS = 5
"""CPU time of a program over all its tests."""
WALL_SECONDS = 30.0
"""Until then a program that is neither done nor out of CPU time may just have been starved: unknown."""
MEMORY_BYTES = 512 * 2**20
PROGRAM_LIMITS = Limits(cpu_seconds=CPU_SECONDS, memory_bytes=MEMORY_BYTES, file_bytes=2**20)
TEST_LIMITS = Limits(cpu_seconds=2 * CPU_SECONDS, memory_bytes=MEMORY_BYTES, file_bytes=0)
CONNECT_SECONDS = 60.0
"""How long the runner may take to come (back) up."""
GRADE_MAX_BYTES = 65536


def socket_path() -> Path:
    """Return where the runner listens."""
    return Path(os.environ.get(SOCKET_ENV, SOCKET))


def prove_no_network() -> None:
    """Ask the runner to reach what must not be reached; within a pod this cannot be switched off.

    Raises
    ------
    UserError
        If anything answered.
    """
    if os.environ.get(PROBE_ENV) == "off" and "KUBERNETES_SERVICE_HOST" not in os.environ:
        return
    with _connect() as control:
        control.sendall(PROBE)
        reached = receive(control)["reached"]
    if reached:
        raise UserError(
            f"the sandbox has network ({', '.join(reached)} answered): set scheduling.sandboxRuntimeClassName, "
            "or a NetworkPolicy that denies it; no program was run"
        )


def _connect() -> socket.socket:
    path, deadline = socket_path(), time.monotonic() + CONNECT_SECONDS
    while True:
        control = socket.socket(socket.AF_UNIX)
        try:
            control.connect(str(path))
        except OSError as error:
            control.close()
            if time.monotonic() > deadline:
                raise InfrastructureError(f"the sandbox runner does not answer on {path}: {error}") from error
            time.sleep(0.05)  # a socket that is not there yet cannot be waited for
        else:
            return control


class Judge:
    """One worker's connection to the runner."""

    def __init__(self) -> None:
        build_prelude()
        self._control = _connect()

    def close(self) -> None:
        """Let the runner's handler end."""
        self._control.close()

    def grade(self, program: str, tests: tuple[str, ...], entry_point: str | None) -> Grade:
        """Run a program in the runner and its tests in a process of their own."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                socket.send_fds(self._control, [RUN], [theirs.fileno()])
                send(self._control, {"program": program, "limits": asdict(PROGRAM_LIMITS)})
            grade, in_time = _test(ours, tests, entry_point)
            self._control.sendall(STOP)
            report = receive(self._control)
        except (FrameError, OSError):
            self._control.close()
            self._control = _connect()
            return wrong("ended: the runner died with it")
        finally:
            ours.close()
        return _explain(grade, report, in_time=in_time)


def _explain(grade: Grade | None, report: dict[str, Any], *, in_time: bool) -> Grade:
    """Put what the tests saw and what the kernel counted together."""
    used_up = report["cpu_seconds"] >= CPU_SECONDS or report["signal"] == signal.SIGXCPU
    if grade is not None and grade.verdict is VerdictValue.RIGHT:
        return grade
    if used_up:
        return wrong(f"ended: it used up its {CPU_SECONDS} s of CPU time")
    if grade is None:
        late = f"not done after {WALL_SECONDS:.0f} s, with {report['cpu_seconds']:.1f} s of CPU time used"
        return unknown("the test process died" if in_time else late)
    if grade.detail.startswith("ended: "):
        if report["signal"] not in (None, signal.SIGKILL):
            return wrong(f"ended: by {signal.Signals(report['signal']).name}")
        code = f" (exit code {report['code']})" if report["code"] is not None else ""
        return wrong(grade.detail + code)
    return grade


def _test(channel: socket.socket, tests: tuple[str, ...], entry_point: str | None) -> tuple[Grade | None, bool]:
    """Run the tests in a forked, confined process; None when it gave no grade, and whether it ended in time."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _run_tests(channel, writing, tests, entry_point)
    os.close(writing)
    text, in_time = b"", True
    deadline = time.monotonic() + WALL_SECONDS
    try:
        while len(text) < GRADE_MAX_BYTES:
            if not select.select([reading], [], [], max(0.0, deadline - time.monotonic()))[0]:
                in_time = False
                break
            part = os.read(reading, GRADE_MAX_BYTES)
            if not part:
                break
            text += part
    finally:
        os.close(reading)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    try:
        verdict, detail = json.loads(text)
        return Grade(VerdictValue(verdict), detail), in_time
    except ValueError:
        return None, in_time


def _run_tests(channel: socket.socket, writing: int, tests: tuple[str, ...], entry_point: str | None) -> NoReturn:
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1):
            os.dup2(null, standard)
        kept = sorted((channel.fileno(), writing))
        for first, last in ((3, kept[0]), (kept[0] + 1, kept[1]), (kept[1] + 1, os.sysconf("SC_OPEN_MAX"))):
            os.closerange(first, last)
        confine(TEST_LIMITS, None)
        grade = run_tests(Program(channel), tests, entry_point)
        os.write(writing, json.dumps(grade).encode())
    finally:
        os._exit(0)
