"""Grade many problems in a pool of processes."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from fusionrun_stages.grade import Grade, unknown
from fusionrun_stages.grading.mathematics.limits import limit_process, memory_use, share_memory
from fusionrun_stages.grading.mathematics.problem import Problem, grade_problem
from fusionrun_stages.grading.processes import ProcessDied, map_in_processes
from fusionrun_stages.pod.cgroup import count_cpus, memory_bytes


def grade_all(problems: Sequence[Problem], processes: int | None = None) -> Iterator[tuple[int, list[Grade]]]:
    """Grade every problem in a pool of processes; yield its index and one grade per response.

    If a process dies, the responses to its problem are graded again one at a time, to find the one that killed it.
    """
    # The first comparison imports half of SymPy: do it once, before the processes are forked.
    grade_problem(Problem("x^2+2x", [r"\boxed{x(x+2)}"]))
    processes, each_bytes = share_memory(
        memory_bytes(), memory_use()[1], min(processes or count_cpus(), max(1, len(problems)))
    )
    grader = partial(_grader, each_bytes)
    for index, grades in map_in_processes(grader, problems, processes):
        if not isinstance(grades, ProcessDied):
            yield index, grades
            continue
        gold, answers = problems[index]
        single = [Problem(gold, [answer]) for answer in answers]
        graded = dict(map_in_processes(grader, single, 1))
        yield index, [_or_unknown(graded[i]) for i in range(len(single))]


def _or_unknown(grades: list[Grade] | ProcessDied) -> Grade:
    return unknown("the grader used up its CPU time or memory") if isinstance(grades, ProcessDied) else grades[0]


def _grader(memory: int) -> Callable[[Problem], list[Grade]]:
    limit_process(memory)
    return grade_problem
