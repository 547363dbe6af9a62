"""Grade many responses in a pool of processes with limits."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from fusionrun.api.evaluation_records import Question
from fusionrun_stages.grading.marks import Mark
from fusionrun_stages.grading.mathematics.limits import (
    TimeUpError,
    limit_process,
    limited,
    memory_use,
    share_memory,
)
from fusionrun_stages.grading.processes import ProcessDied, map_in_processes
from fusionrun_stages.grading.qwen_mathematics.comparison import is_equal
from fusionrun_stages.grading.qwen_mathematics.extraction import final_answer
from fusionrun_stages.grading.qwen_mathematics.normal_form import normal_form
from fusionrun_stages.pod.cgroup import count_cpus, memory_bytes

CPU_SECONDS = 3.0
"""CPU time per response. The harness allows 3 s of wall time; CPU time does not depend on the load of the machine."""
_QUOTED_MAX = 200


class _Item(NamedTuple):
    gold: str | None
    response: str


def grade_all(items: Sequence[tuple[Question, str]], processes: int | None = None) -> Iterator[tuple[int, Mark]]:
    """Grade every response by the gold answer of its question, in ``processes`` processes (default: one per CPU).

    Yield the index and the mark of each. The value is None if the question has no answer. A response over a limit of
    CPU time or memory is wrong, as in the harness.
    """
    _grade(_Item("x^2+2x", r"\boxed{x(x+2)}"))  # imports half of SymPy, before the processes are forked
    pairs = [_Item(question.answer, response) for question, response in items]
    processes, each_bytes = share_memory(
        memory_bytes(), memory_use()[1], min(processes or count_cpus(), max(1, len(pairs)))
    )
    for index, mark in map_in_processes(partial(_grader, each_bytes), pairs, processes):
        yield index, _over_limit() if isinstance(mark, ProcessDied) else mark


def _grader(memory: int) -> Callable[[_Item], Mark]:
    limit_process(memory)
    return _limited_grade


def _limited_grade(item: _Item) -> Mark:
    try:
        return limited(lambda: _grade(item), CPU_SECONDS)
    except (TimeUpError, MemoryError):
        return _over_limit()
    except Exception as error:  # noqa: BLE001 (SymPy raises many kinds)
        return Mark(0.0, f"the comparison failed: {type(error).__name__}")


def _over_limit() -> Mark:
    return Mark(0.0, "the comparison used up its CPU time or memory")


def _grade(item: _Item) -> Mark:
    if item.gold is None or not item.gold.strip():
        return Mark(None, "the question has no gold answer")
    gold = normal_form(item.gold)
    answer = final_answer(item.response, gold)
    if is_equal(answer, gold):
        return Mark(1.0)
    return Mark(0.0, f"it answers {answer[:_QUOTED_MAX]!r}") if answer else Mark(0.0, "no final answer", parsed=False)
