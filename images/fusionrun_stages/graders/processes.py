"""A pool of processes that survives what it is given: an item that kills its process costs that item alone.

The standard pools stop altogether when one of their processes dies, and a grader's process may: the kernel ends it
when its CPU time is used up inside C code, where no signal handler runs.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Died:
    """The process that worked on an item ended without an answer."""

    exit_code: int | None
    """Negative: the signal's number."""


@dataclass
class _Worker(Generic[T, R]):
    process: BaseProcess
    pipe: Connection
    item: int


def count_cpus() -> int:
    """Return how many CPUs this process may use."""
    return len(os.sched_getaffinity(0))


def map_in_processes(
    make: Callable[[], Callable[[T], R]], items: Sequence[T], processes: int
) -> Iterator[tuple[int, R | Died]]:
    """Yield each item's index and answer as they come.

    Parameters
    ----------
    make
        Called once in every process; what it returns is called with one item after the other.
    """
    context = multiprocessing.get_context("fork")
    waiting = iter(range(len(items)))
    workers: dict[Any, _Worker[T, R]] = {}

    def start(index: int) -> None:
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(make, theirs), daemon=True)
        process.start()
        theirs.close()
        _hand(_Worker(process, ours, index), index)

    def _hand(worker: _Worker[T, R], index: int) -> None:
        worker.item = index
        workers[worker.pipe] = worker
        try:
            worker.pipe.send(items[index])
        except BrokenPipeError:
            return  # its death is found when its answer is read

    try:
        for index in _next(waiting, processes):
            start(index)
        while workers:
            for pipe in wait(list(workers)):
                worker = workers.pop(pipe)
                try:
                    yield worker.item, worker.pipe.recv()
                except (EOFError, ConnectionResetError):
                    worker.process.join()
                    yield worker.item, Died(worker.process.exitcode)
                    for index in _next(waiting, 1):
                        start(index)
                else:
                    for index in _next(waiting, 1):
                        _hand(worker, index)
                    if worker.pipe not in workers:
                        worker.pipe.send(None)  # closing is not enough: processes forked later hold a copy
                        worker.process.join()
    finally:
        for worker in workers.values():
            worker.process.kill()
            worker.process.join()


def _next(waiting: Iterator[int], count: int) -> list[int]:
    return [index for _, index in zip(range(count), waiting, strict=False)]


def _serve(make: Callable[[], Callable[[T], R]], pipe: Connection) -> None:
    answer = make()
    while (item := pipe.recv()) is not None:
        pipe.send(answer(item))
