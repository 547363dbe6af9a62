"""Grade many responses in a pool of processes, each response with a limit of CPU time.

SymPy may need minutes for an expression of a model, and a regular expression or a table may, too.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from fusionrun.api.evaluation_records import Question
from fusionrun_stages.grading.live_bench.tasks import check, grade
from fusionrun_stages.grading.marks import Mark
from fusionrun_stages.grading.mathematics.limits import (
    CPU_SECONDS,
    TimeUpError,
    limit_process,
    limited,
    memory_use,
    share_memory,
)
from fusionrun_stages.grading.processes import ProcessDied, map_in_processes
from fusionrun_stages.pod.cgroup import count_cpus, memory_bytes


def grade_all(items: Sequence[tuple[Question, str]], processes: int | None = None) -> Iterator[tuple[int, Mark]]:
    """Grade responses; yield the index and the mark of each when it is complete.

    A response that needs more than ``CPU_SECONDS`` (LiveBench: 5 s for AMPS Hard) or too much memory is wrong.

    Raises
    ------
    UserError
        A question has a task without a grader here.
    """
    for question in {question.prompt_id: question for question, _ in items}.values():
        check(question)
    if not items:
        return
    _import_libraries()
    processes, each_bytes = share_memory(
        memory_bytes(), memory_use()[1], min(processes or count_cpus(), max(1, len(items)))
    )
    for index, mark in map_in_processes(partial(_grader, each_bytes), items, processes):
        if isinstance(mark, ProcessDied):
            reason = "failed" if (mark.exit_code or 0) > 0 else "used up its CPU time or memory"
            yield index, Mark(0.0, f"the grader {reason}", parsed=False)
        else:
            yield index, mark


def _import_libraries() -> None:
    """Import what graders need before the processes are forked: SymPy takes a second, and a missing one is an error."""
    import antlr4  # noqa: F401
    import lxml  # noqa: F401 - pandas reads HTML with it
    import pandas as pd  # noqa: F401
    import rapidfuzz.distance  # noqa: F401

    from fusionrun_stages.grading.live_bench.amps_hard import equal
    from fusionrun_stages.grading.live_bench.instructions.tokens import is_in_language, split_words

    equal(r"\frac{x}{2}", "x")
    is_in_language("some words", "en")
    split_words("some words")


def _grader(memory: int) -> Callable[[tuple[Question, str]], Mark]:
    limit_process(memory)
    return _grade_limited


def _grade_limited(item: tuple[Question, str]) -> Mark:
    try:
        return limited(partial(grade, *item))
    except TimeUpError:
        return Mark(0.0, f"the grader used up its CPU time of {CPU_SECONDS:.0f} s", parsed=False)
    except MemoryError:
        return Mark(0.0, "the grader used up its memory", parsed=False)
