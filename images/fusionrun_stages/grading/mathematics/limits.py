"""Limits of CPU time and memory for one process of the grader.

The limit is CPU time, so the load of the machine does not change verdicts.
"""

import resource
import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TypeVar

CPU_SECONDS = 5.0
"""CPU time per response. Source: math-verify's default limit is 5 s of wall time."""
GRACE_SECONDS = 3
"""Extra CPU time until the kernel kills a process in C code, where Python's signal handlers do not run."""
MEMORY_BYTES = 2 * 2**30
"""Maximum memory that one process may add. A power tower in a response would need more."""
MEMORY_MIN_BYTES = 512 * 2**20
"""Minimum memory that SymPy needs for usual answers. With less per CPU, fewer processes are started."""
PARENT_BYTES = 512 * 2**20
"""Memory for the parent process: SymPy and a batch of responses."""

R = TypeVar("R")


class TimeUpError(BaseException):
    """Not an Exception: SymPy and math-verify catch every Exception."""


def share_memory(limit_bytes: int, inherited_bytes: int, processes: int) -> tuple[int, int]:
    """Return how many processes fit in memory, and how much memory each may add to what it inherits.

    A forked process copies inherited pages over time, since Python writes reference counts. There is one share more
    than processes: the responses to a problem that killed its process are graded in an extra one.
    """
    available_bytes = limit_bytes - PARENT_BYTES
    processes = max(1, min(processes, available_bytes // (MEMORY_MIN_BYTES + inherited_bytes) - 1))
    each_bytes = available_bytes // (processes + 1) - inherited_bytes
    return processes, min(MEMORY_BYTES, max(MEMORY_MIN_BYTES, each_bytes))


def memory_use() -> tuple[int, int]:
    """Return the size of this process's address space, and how much of it is in memory."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()
    return int(pages[0]) * resource.getpagesize(), int(pages[1]) * resource.getpagesize()


def limit_process(memory: int) -> None:
    """Limit the memory of this process, and let the timer raise ``TimeUpError``."""
    limit = memory_use()[0] + memory
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    signal.signal(signal.SIGPROF, _time_up)


def _time_up(_signal: int, _frame: FrameType | None) -> None:
    raise TimeUpError


def limited(function: Callable[[], R], seconds: float = CPU_SECONDS) -> R:
    """Call the function with a limit of CPU time.

    Raise TimeUpError if Python code used up the time. In C code the kernel kills the process ``GRACE_SECONDS`` later.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    kill_at = int(used.ru_utime + used.ru_stime + seconds) + GRACE_SECONDS
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (kill_at, hard))
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        return function()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))
