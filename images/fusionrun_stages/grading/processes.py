"""A process pool that survives the death of a process: only the item of that process fails.

In the pools of the standard library all items fail if a process dies. The kernel kills a grader's process if it uses up
its CPU time in C code, where Python's signal handlers do not run.
"""

import ctypes
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Generic, TypeVar

_PR_SET_PDEATHSIG = 1  # Source: linux/prctl.h

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class ProcessDied:
    """Result of an item whose process ended without a result."""

    exit_code: int | None
    """Negative: the number of a signal."""


def map_in_processes(
    make: Callable[[], Callable[[T], R]], items: Sequence[T], processes: int
) -> Iterator[tuple[int, R | ProcessDied]]:
    """Yield the index and the result of each item when it is complete.

    Each process calls ``make`` once; it returns the function for the items.
    """
    waiting = iter(range(len(items)))
    workers = [_Worker(make) for _ in range(min(processes, len(items)))]
    try:
        for worker in workers:
            worker.submit(next(waiting), items)
        while busy := {worker.pipe.fileno(): worker for worker in workers if worker.item is not None}:
            for worker in [busy[ready] for ready in wait(list(busy)) if isinstance(ready, int)]:
                yield worker.receive()
                if (index := next(waiting, None)) is not None:
                    worker.submit(index, items)
    finally:
        for worker in workers:
            worker.stop()


class _Worker(Generic[T, R]):
    """A process, restarted after its death, and its current item."""

    def __init__(self, make: Callable[[], Callable[[T], R]]) -> None:
        self._make = make
        self.item: int | None = None
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("fork")
        self.pipe, child_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(self._make, child_end), daemon=True)
        self._process.start()
        child_end.close()

    def submit(self, index: int, items: Sequence[T]) -> None:
        """Send an item to the process."""
        if not self._process.is_alive():
            self.pipe.close()
            self._start()
        self.item = index
        with suppress(BrokenPipeError):  # receive() detects the death
            self.pipe.send(items[index])

    def receive(self) -> tuple[int, R | ProcessDied]:
        """Read the result, or return ProcessDied if the process has ended."""
        index, self.item = self.item, None
        assert index is not None
        try:
            return index, self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            return index, ProcessDied(self._process.exitcode)

    def stop(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.join()
        self.pipe.close()


def _serve(make: Callable[[], Callable[[T], R]], pipe: Connection) -> None:
    # Die with the parent. Forked siblings keep the other end of this pipe open, so there would be no end of file.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    function = make()
    while True:
        pipe.send(function(pipe.recv()))
