"""The judge: one connection to the runner, and one test process per program."""

import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from functools import partial
from typing import Any, NamedTuple, NoReturn, TypeVar

from fusionrun.api.records import VerdictValue
from fusionrun.api.sandbox import PROGRAM_MEMORY_BYTES, RUNTIME_CLASS_ENV, TESTS_MEMORY_BYTES
from fusionrun_stages.grade import DISTURBED, Grade, disturbed, right, unknown, unusable, wrong
from fusionrun_stages.sandbox import forms
from fusionrun_stages.sandbox.confine import ResourceLimits, confine
from fusionrun_stages.sandbox.connection import connect
from fusionrun_stages.sandbox.harness import Outcome, run_tests, unless_ended
from fusionrun_stages.sandbox.preamble import read_preamble
from fusionrun_stages.sandbox.proxies import NotPlainError, ProgramGoneError, RemoteProgram
from fusionrun_stages.sandbox.steps import describe
from fusionrun_stages.sandbox.suite import PromptTests
from fusionrun_stages.sandbox.wakeup import provide_wakeup_pairs
from fusionrun_stages.sandbox.whole import check_output, check_together
from fusionrun_stages.sandbox.wire import GONE, RUN, STOP, FrameError, receive, send

T = TypeVar("T")

CPU_SECONDS = 5
"""CPU time of a program over all its tests."""
WALL_SECONDS = 30.0
"""Wall time after which a program with CPU time left is unknown: other processes may have used the CPUs."""
PROGRAM_LIMITS = ResourceLimits(cpu_seconds=CPU_SECONDS, memory_bytes=PROGRAM_MEMORY_BYTES, file_bytes=2**20)
TEST_LIMITS = ResourceLimits(cpu_seconds=2 * CPU_SECONDS, memory_bytes=TESTS_MEMORY_BYTES, file_bytes=0)
PAIRS_SECONDS = 120.0
"""Wall time after which no further input is tried."""
GRADE_MAX_BYTES = 65536


class TimeLimits(NamedTuple):
    """Limits of one process of a program."""

    cpu_seconds: int
    """CPU time over all its calls."""
    wall_seconds: float
    """Wall time over all its calls. If it has CPU time left then, other processes may have used the CPUs."""
    reply_seconds: float | None = None
    """Wall time of each call; a program without a reply is disturbed. None: only the limit over all calls."""


class Judge:
    """One worker's connection to the runner."""

    def __init__(self) -> None:
        PromptTests(["assert f(1) == 1"], "f").find_fault()  # import and fill the caches once, before the forks
        self._control: socket.socket | None = None
        self._wakeup = False
        """Whether both processes need a pair of sockets for an event loop (``wakeup``); it takes time to make one."""
        # Landlock is optional only if the run has a RuntimeClass (see isolation.py).
        self._optional = {"landlock_optional": bool(os.environ.get(RUNTIME_CLASS_ENV))}

    def close(self) -> None:
        """Close the connection, so that the runner's handler ends."""
        if self._control is not None:
            self._control.close()
            self._control = None

    def grade(self, program: str, tests: tuple[str, ...], entry_point: str | None, preamble: str = "") -> Grade:
        """Run a program in the runner and its tests in a separate process.

        If the runner dies, the program is disturbed, not wrong: another program or the node may be the cause.
        """
        try:
            read_preamble(preamble)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            return unusable(f"its preamble is not valid Python: {error}")
        try:
            parsed = forms.parse(tests)
        except (ValueError, RecursionError) as error:
            return unusable(f"its tests cannot be used: {error}")
        self._wakeup = any("asyncio" in text for text in (program, preamble, *tests))
        grade, started = right(), time.monotonic()
        if parsed.python:
            grade = self._grade_python(program, parsed.python, entry_point, preamble)
        for pair in parsed.pairs:
            if grade.verdict is not VerdictValue.RIGHT:
                break
            if time.monotonic() - started > PAIRS_SECONDS:
                return unknown(f"not done with all inputs after {PAIRS_SECONDS:.0f} s")
            grade = self._run(partial(check_output, code=program, pair=pair, preamble=preamble)).grade
        return grade

    def _grade_python(self, program: str, tests: list[str], entry_point: str | None, preamble: str) -> Grade:
        """Run the tests with proxies, and again if something was exchanged that a proxy may show otherwise.

        If the verdicts differ, return unknown. Only the first run can make a verdict right.
        """
        run = partial(run_tests, code=program, tests=tests, entry_point=entry_point, preamble=preamble)
        grade, unchanged, together = self._run(run)
        if unchanged:
            again = self._run(run, writes_back=False).grade
            if again.verdict is not VerdictValue.RIGHT:
                reason = "the tests compare with an argument that the program changes"
                return again if again.detail.startswith(DISTURBED) else unknown(reason)
        if together:
            one = partial(check_together, code=program, tests=tests, entry_point=entry_point, preamble=preamble)
            plain = self._run(one).grade
            if plain.detail.startswith(DISTURBED):
                return plain
            if plain.verdict is not grade.verdict:
                return unknown(
                    f"{plain.verdict} in one process with its tests, otherwise {grade.verdict}: {grade.detail}"
                )
        return grade

    def check(self, test: Callable[[RemoteProgram], Grade], times: TimeLimits, *, wakeup: bool = False) -> Grade:
        """Run a test of a benchmark, which knows the expected results, in a separate process."""
        self._wakeup = wakeup
        return self._run(lambda program: Outcome(test(program)), times=times).grade

    def use(self, function: Callable[[RemoteProgram], T], times: TimeLimits) -> T | Grade:
        """Run a function in this process; return its result, or why the program has none.

        Only for programs that are as trusted as tests, such as the solutions of a benchmark.
        """
        self._wakeup = False
        try:
            with self._started(times) as (test_end, control):
                test_end.settimeout(times.wall_seconds)
                program = RemoteProgram(test_end, writes_back=False)
                found: T | Grade
                try:
                    found = function(program)
                except (ProgramGoneError, NotPlainError):
                    found = unless_ended(program, wrong())
                except Exception as error:  # noqa: BLE001 (the program may raise anything)
                    found = unless_ended(program, wrong(f"raised: {describe(error)}"))
                report = _stop(control, gone=program.gone is not None)
        except (FrameError, OSError) as error:
            self.close()
            return disturbed(f"the runner died: {error}")
        if isinstance(found, Grade):
            return _combine(found, report, in_time=True, times=times)
        return found

    def _run(
        self,
        test: Callable[[RemoteProgram], Outcome],
        *,
        writes_back: bool = True,
        times: TimeLimits | None = None,
    ) -> Outcome:
        """Start a program's process and a test process, and combine what both report."""
        allowed = times or TimeLimits(CPU_SECONDS, WALL_SECONDS)
        try:
            with self._started(times) as (test_end, control):
                test_end.settimeout(allowed.reply_seconds)
                program = partial(RemoteProgram, test_end, writes_back=writes_back)
                prepare = provide_wakeup_pairs if self._wakeup else _do_nothing
                limits = TEST_LIMITS if times is None else replace(TEST_LIMITS, cpu_seconds=2 * times.cpu_seconds)
                limits = replace(limits, **self._optional)
                outcome, in_time = _test(test_end, lambda: test(program()), limits, prepare, allowed.wall_seconds)
                gone = outcome is not None and outcome.grade.detail.startswith(("ended: ", DISTURBED))
                report = _stop(control, gone=gone)
        except (FrameError, OSError) as error:
            self.close()
            return Outcome(disturbed(f"the runner died: {error}"))
        grade = _combine(outcome and outcome.grade, report, in_time=in_time, times=times)
        by_itself = outcome and grade.verdict is outcome.grade.verdict and report["code"] is not None
        return outcome._replace(grade=grade) if outcome and (grade == outcome.grade or by_itself) else Outcome(grade)

    @contextmanager
    def _started(self, times: TimeLimits | None) -> Iterator[tuple[socket.socket, socket.socket]]:
        """Start a program's process; return the test's end of its channel, and the connection to the runner."""
        self._control = control = self._control or connect()
        test_end, program_end = socket.socketpair()
        try:
            with program_end:
                socket.send_fds(control, [RUN], [program_end.fileno()])
                limits = PROGRAM_LIMITS if times is None else replace(PROGRAM_LIMITS, cpu_seconds=times.cpu_seconds)
                send(control, {"limits": asdict(replace(limits, **self._optional)), "wakeup": self._wakeup})
            yield test_end, control
        finally:
            test_end.close()


def _stop(control: socket.socket, *, gone: bool) -> dict[str, Any]:
    """Stop the program's process, and return the runner's report on it."""
    control.sendall(GONE if gone else STOP)
    report: dict[str, Any] = receive(control)
    return report


def _combine(  # noqa: PLR0911 (one line per outcome)
    grade: Grade | None, report: dict[str, Any], *, in_time: bool, times: TimeLimits | None = None
) -> Grade:
    """Combine the grade of the tests with the runner's report on the process."""
    cpu_seconds, wall_seconds = (times or TimeLimits(CPU_SECONDS, WALL_SECONDS))[:2]
    used_up = report["cpu_seconds"] >= cpu_seconds or report["signal"] == signal.SIGXCPU
    if grade is not None and grade.verdict is VerdictValue.RIGHT:
        return grade
    if report["excess"]:
        return wrong(f"ended: {report['excess']}")
    if used_up:
        return wrong(f"ended: it used up its {cpu_seconds} s of CPU time")
    if report["signal"] == signal.SIGPROF:
        return wrong("ended: a call used up its CPU time")
    if report["signal"] == signal.SIGKILL and not report["killed_by_us"]:
        return disturbed("the kernel killed it: out of memory")
    if grade is None:
        late = f"not done after {wall_seconds:.0f} s, with {report['cpu_seconds']:.1f} s of CPU time used"
        if times is not None and not in_time:
            return disturbed(late)
        return unknown("the test process died" if in_time else late)
    if grade.detail.startswith("ended: "):
        if report["signal"] not in (None, signal.SIGKILL):
            return wrong(f"ended: by {_name_signal(report['signal'])}")
        code = f" (exit code {report['code']})" if report["code"] is not None else ""
        return wrong(grade.detail + code)
    return grade


def _name_signal(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def _do_nothing() -> None:
    pass


def _test(
    channel: socket.socket,
    test: Callable[[], Outcome],
    limits: ResourceLimits,
    prepare: Callable[[], None],
    wall_seconds: float,
) -> tuple[Outcome | None, bool]:
    """Run the tests in a forked, confined process; return their outcome, if any, and whether they ended in time."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _run_tests(channel, writing, test, limits, prepare)
    os.close(writing)
    text, in_time = b"", True
    deadline = time.monotonic() + wall_seconds
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
        (verdict, detail), unchanged, together = json.loads(text)
        return Outcome(Grade(VerdictValue(verdict), detail), unchanged, together), in_time
    except ValueError:
        return None, in_time


def _run_tests(
    channel: socket.socket,
    writing: int,
    test: Callable[[], Outcome],
    limits: ResourceLimits,
    prepare: Callable[[], None],
) -> NoReturn:
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1):
            os.dup2(null, standard)
        kept = sorted((channel.fileno(), writing))
        for first, last in ((3, kept[0]), (kept[0] + 1, kept[1]), (kept[1] + 1, os.sysconf("SC_OPEN_MAX"))):
            os.closerange(first, last)
        prepare()
        confine(limits, None)
        outcome = test()
        os.write(writing, json.dumps(outcome).encode())
    finally:
        os._exit(0)
