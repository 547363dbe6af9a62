"""Detection of a stage that makes no progress: a hung collective operation, a hub that sends nothing, a blocked volume.

The pod then exits with an infrastructure error, so that it frees its GPUs and the stage is retried.
"""

import faulthandler
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from fusionrun_stages.work import Report

log = logging.getLogger(__name__)

IO_FILE = Path("/proc/self/io")
ACTIVE_BYTES = 2**20
"""Bytes that a process must have read and written since its last activity to count as active. The lease of a hung
process takes about 100 bytes per second."""
CHECKS = 10
"""Number of checks per stall time."""
PRINT_SECONDS = 10.0
"""Maximum time to print the stacks. If the volume blocks the copy of the output, it may take forever."""


def io_bytes() -> int:
    """Return the number of bytes that this process has read and written by system calls; 0 if it is unknown.

    Source: proc_pid_io(5): ``rchar`` and ``wchar``.
    """
    try:
        fields = dict(line.split(": ") for line in IO_FILE.read_text().splitlines())
        return int(fields["rchar"]) + int(fields["wchar"])
    except (OSError, ValueError, KeyError):
        return 0


class Watchdog:
    """A ``Report`` that passes progress on, and calls ``on_stall`` after ``seconds`` without any.

    A stage is active when it reports progress, or when it reads or writes data. ``start`` starts the checks in a
    background thread. There are none without ``seconds``, nor on a kernel that does not count bytes: a download reports
    its end only.
    """

    def __init__(
        self,
        report: Report,
        seconds: float,
        on_stall: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        transferred: Callable[[], int] = io_bytes,
    ) -> None:
        self._report, self._seconds, self._on_stall = report, seconds, on_stall
        self._clock, self._transferred = clock, transferred
        self._active_at, self._bytes = clock(), transferred()
        self._stopped = threading.Event()

    def __call__(self, done: int, total: int, unit: str = "", **numbers: float) -> None:
        """Record activity, and report the progress."""
        self._active_at = self._clock()
        self._report(done, total, unit, **numbers)

    def start(self) -> None:
        """Start the checks."""
        self._active_at, self._bytes = self._clock(), self._transferred()
        if self._seconds and self._bytes:
            threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Stop the checks."""
        self._stopped.set()

    def is_stalled(self) -> bool:
        """Return whether the stage was inactive for too long."""
        now, transferred = self._clock(), self._transferred()
        if transferred - self._bytes >= ACTIVE_BYTES:
            self._active_at, self._bytes = now, transferred
        return now - self._active_at >= self._seconds

    def _watch(self) -> None:
        while not self._stopped.wait(self._seconds / CHECKS):
            if self.is_stalled():
                printing = threading.Thread(target=self._print_stacks, name="stacks", daemon=True)
                printing.start()
                printing.join(PRINT_SECONDS)
                self._on_stall(
                    f"no progress for {self._seconds:.0f} s, and less than 1 MiB read or written: the pod exits, and "
                    "the stage is retried; the log has the stack of each thread"
                )
                return

    def _print_stacks(self) -> None:
        """Print the stack of each thread: first to memory, since faulthandler keeps the GIL while it writes."""
        with os.fdopen(os.memfd_create("stacks"), "w+") as stacks:
            faulthandler.dump_traceback(stacks)
            stacks.seek(0)
            text = stacks.read()
        log.error("the stage made no progress for %.0f s: the stack of each thread follows", self._seconds)
        print(text, file=sys.__stderr__, flush=True)
