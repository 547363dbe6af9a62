"""The judge: one connection to the runner, and one test process per program."""

import json
import os
import select
import signal
import socket
import time
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any, NoReturn

from fusionrun.api.records import VerdictValue
from fusionrun.api.sandbox import PROGRAM_MEMORY_BYTES, RUNTIME_CLASS_ENV, TESTS_MEMORY_BYTES
from fusionrun_stages.grade import DISTURBED, Grade, disturbed, unknown, wrong
from fusionrun_stages.sandbox.confine import ResourceLimits, confine
from fusionrun_stages.sandbox.connection import connect
from fusionrun_stages.sandbox.harness import run_tests
from fusionrun_stages.sandbox.prelude import build_prelude
from fusionrun_stages.sandbox.proxies import RemoteProgram
from fusionrun_stages.sandbox.wire import GONE, RUN, STOP, FrameError, receive, send

CPU_SECONDS = 5
"""CPU time of a program over all its tests."""
WALL_SECONDS = 30.0
"""Wall time after which a program with CPU time left is unknown: other processes may have used the CPUs."""
PROGRAM_LIMITS = ResourceLimits(cpu_seconds=CPU_SECONDS, memory_bytes=PROGRAM_MEMORY_BYTES, file_bytes=2**20)
TEST_LIMITS = ResourceLimits(cpu_seconds=2 * CPU_SECONDS, memory_bytes=TESTS_MEMORY_BYTES, file_bytes=0)
SHORTAGES = ("can't start new thread", "Resource temporarily unavailable")
"""Error messages at the node's limit of threads, which another program may have caused."""
GRADE_MAX_BYTES = 65536


class Judge:
    """One worker's connection to the runner."""

    def __init__(self) -> None:
        build_prelude()
        self._control: socket.socket | None = None
        # Landlock is optional only if the run has a RuntimeClass (see isolation.py).
        self._optional = {"landlock_optional": bool(os.environ.get(RUNTIME_CLASS_ENV))}

    def close(self) -> None:
        """Close the connection, so that the runner's handler ends."""
        if self._control is not None:
            self._control.close()
            self._control = None

    def grade(self, program: str, tests: tuple[str, ...], entry_point: str | None) -> Grade:
        """Run a program in the runner and its tests in a separate process.

        If the runner dies, the program is disturbed, not wrong: another program or the node may be the cause.
        """
        self._control = control = self._control or connect()
        test_end, program_end = socket.socketpair()
        try:
            with program_end:
                socket.send_fds(control, [RUN], [program_end.fileno()])
                send(control, {"program": program, "limits": asdict(replace(PROGRAM_LIMITS, **self._optional))})
            grade, in_time = _test(test_end, tests, entry_point, replace(TEST_LIMITS, **self._optional))
            gone = grade is not None and grade.detail.startswith(("ended: ", DISTURBED))
            control.sendall(GONE if gone else STOP)
            report = receive(control)
        except (FrameError, OSError) as error:
            self.close()
            return disturbed(f"the runner died: {error}")
        finally:
            test_end.close()
        return _combine(grade, report, in_time=in_time)


def _combine(  # noqa: PLR0911 (one line per outcome)
    grade: Grade | None, report: dict[str, Any], *, in_time: bool
) -> Grade:
    """Combine the grade of the tests with the runner's report on the process."""
    used_up = report["cpu_seconds"] >= CPU_SECONDS or report["signal"] == signal.SIGXCPU
    if grade is not None and grade.verdict is VerdictValue.RIGHT:
        return grade
    if report["excess"]:
        return wrong(f"ended: {report['excess']}")
    if used_up:
        return wrong(f"ended: it used up its {CPU_SECONDS} s of CPU time")
    if report["signal"] == signal.SIGKILL and not report["killed_by_us"]:
        return disturbed("the kernel killed it: out of memory")
    if grade is None:
        late = f"not done after {WALL_SECONDS:.0f} s, with {report['cpu_seconds']:.1f} s of CPU time used"
        return unknown("the test process died" if in_time else late)
    if any(shortage in grade.detail for shortage in SHORTAGES):
        return disturbed(grade.detail)
    if grade.detail.startswith("ended: "):
        if report["signal"] not in (None, signal.SIGKILL):
            return wrong(f"ended: by {signal.Signals(report['signal']).name}")
        code = f" (exit code {report['code']})" if report["code"] is not None else ""
        return wrong(grade.detail + code)
    return grade


def _test(
    channel: socket.socket, tests: tuple[str, ...], entry_point: str | None, limits: ResourceLimits
) -> tuple[Grade | None, bool]:
    """Run the tests in a forked, confined process; return their grade, if any, and whether they ended in time."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _run_tests(channel, writing, tests, entry_point, limits)
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


def _run_tests(
    channel: socket.socket, writing: int, tests: tuple[str, ...], entry_point: str | None, limits: ResourceLimits
) -> NoReturn:
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1):
            os.dup2(null, standard)
        kept = sorted((channel.fileno(), writing))
        for first, last in ((3, kept[0]), (kept[0] + 1, kept[1]), (kept[1] + 1, os.sysconf("SC_OPEN_MAX"))):
            os.closerange(first, last)
        confine(limits, None)
        grade = run_tests(RemoteProgram(channel), tests, entry_point)
        os.write(writing, json.dumps(grade).encode())
    finally:
        os._exit(0)
