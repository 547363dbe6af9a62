"""A pool of processes that survives what it is given: an item that kills its process costs that item alone.

The standard pools stop altogether when one of their processes dies, and a grader's process may: the kernel ends it
when its CPU time is used up inside C code, where no signal handler runs.
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
class Died:
    """The process that worked on an item ended without an answer."""

    exit_code: int | None
    """Negative: the signal's number."""


def map_in_processes(
    make: Callable[[], Callable[[T], R]], items: Sequence[T], processes: int
) -> Iterator[tuple[int, R | Died]]:
    """Yield each item's index and answer as they come.

    Parameters
    ----------
    make
        Called once in every process; what it returns is called with one item after the other.
    """
    waiting = iter(range(len(items)))
    workers = [_Worker(make) for _ in range(min(processes, len(items)))]
    try:
        for worker in workers:
            worker.hand(next(waiting), items)
        while busy := {worker.pipe.fileno(): worker for worker in workers if worker.item is not None}:
            for worker in [busy[ready] for ready in wait(list(busy)) if isinstance(ready, int)]:
                yield worker.take()
                if (index := next(waiting, None)) is not None:
                    worker.hand(index, items)
    finally:
        for worker in workers:
            worker.stop()


class _Worker(Generic[T, R]):
    """A process, begun anew after its death, and the item it works on."""

    def __init__(self, make: Callable[[], Callable[[T], R]]) -> None:
        self._make = make
        self.item: int | None = None
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(self._make, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def hand(self, index: int, items: Sequence[T]) -> None:
        """Give the process an item to work on."""
        if not self._process.is_alive():
            self.pipe.close()
            self._start()
        self.item = index
        with suppress(BrokenPipeError):  # its death shows when its answer is read
            self.pipe.send(items[index])

    def take(self) -> tuple[int, R | Died]:
        """Read the answer that waits, or find that the process has died."""
        index, self.item = self.item, None
        assert index is not None
        try:
            return index, self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            return index, Died(self._process.exitcode)

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self.pipe.close()


def _serve(make: Callable[[], Callable[[T], R]], pipe: Connection) -> None:
    # Die with the parent: its siblings hold the other end of this pipe, too, so no end of file would tell.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    answer = make()
    while True:
        pipe.send(answer(pipe.recv()))
