"""Grade the responses to one problem: compute the expected outputs once, then run each program on all inputs."""

import math
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from fusionrun.api.evaluation_records import Question
from fusionrun.api.records import VerdictValue
from fusionrun_stages.grade import DISTURBED, Grade, unusable
from fusionrun_stages.grading.coding.benchmark import Result
from fusionrun_stages.grading.coding.checks import run_checks
from fusionrun_stages.grading.coding.static import analyse
from fusionrun_stages.grading.eval_plus.completion import read_program
from fusionrun_stages.grading.eval_plus.outputs import WHETHER_FOUND, Comparison
from fusionrun_stages.grading.eval_plus.problem import Problem, read_problem
from fusionrun_stages.sandbox.judge import Judge, TimeLimits
from fusionrun_stages.sandbox.proxies import RemoteProgram

CALL_MIN_SECONDS, CALL_FACTOR, PROGRAM_MAX_SECONDS = 1.0, 4.0, 60
"""A call may take as long as four calls of the solution, and 1 s in any case; all calls together 60 s. Here it is CPU
time, so that other processes do not matter. Source: evalplus 0.3.1, ``evalplus.config``; 60: ``untrusted_check``."""
SOLUTION_TIMES = TimeLimits(cpu_seconds=120, wall_seconds=600.0)
REPLY_SECONDS = 30.0
"""Least wall time of a call after which the program is disturbed, or sleeps."""


class Expected(NamedTuple):
    """What the solution returns for each input, and the seconds that it takes."""

    outputs: list[Any]
    seconds: list[float]


def check(judge: Judge, question: Question, texts: Sequence[str]) -> list[Result]:
    """Return the results of the responses to a question: of the base tests, and of all tests."""
    try:
        problem = read_problem(question.data)
    except (ValueError, RecursionError) as error:
        fault = unusable(f"its tests cannot be used: {error}")
        return [Result(fault, fault)] * len(texts)
    base = _compute(judge, problem, problem.base)
    if isinstance(base, Grade):
        return [Result(base, base)] * len(texts)
    # The added inputs may need more memory than a program has: then only the verdict of all tests is unknown.
    plus = _compute(judge, problem, problem.plus)
    return [_check_one(judge, question.prefill, text, problem, (base, plus)) for text in texts]


def _compute(judge: Judge, problem: Problem, inputs: list[tuple[Any, ...]]) -> Expected | Grade:
    """Return what the solution returns; a grade if it fails."""
    found = judge.use(partial(compute, problem=problem, inputs=inputs), SOLUTION_TIMES)
    if isinstance(found, Grade) and not found.detail.startswith(DISTURBED):
        return unusable(f"its solution fails: {found.detail}")
    return found


def compute(program: RemoteProgram, problem: Problem, inputs: list[tuple[Any, ...]]) -> Expected:
    """Run the solution on all inputs."""
    function = _load(program, problem.solution, problem.entry_point)
    if function is None:
        raise ValueError(f"it does not define {problem.entry_point}")
    expected = Expected([], [])
    for arguments in inputs:
        began = time.monotonic()
        output = function(*arguments)
        expected.seconds.append(time.monotonic() - began)
        is_match = problem.task_id.startswith("Mbpp") and problem.entry_point in WHETHER_FOUND
        expected.outputs.append(output is not None if is_match else output)
    return expected


def _check_one(
    judge: Judge, prefill: str | None, text: str, problem: Problem, expected: Sequence[Expected | Grade]
) -> Result:
    code = read_program(prefill, text, problem.entry_point)
    if fault := analyse(code):
        return Result(fault, fault)
    grades: list[Grade] = []
    for inputs, one in zip((problem.base, problem.plus), expected, strict=True):
        if isinstance(one, Grade):
            grades.append(one)
            break
        limits = [max(CALL_MIN_SECONDS, CALL_FACTOR * seconds) for seconds in one.seconds]
        cpu_seconds = min(PROGRAM_MAX_SECONDS, math.ceil(sum(limits))) + 1
        slowest = max(limits, default=CALL_MIN_SECONDS)
        times = TimeLimits(cpu_seconds, 5 * cpu_seconds + REPLY_SECONDS, max(REPLY_SECONDS, 10 * slowest))
        test = partial(run, code=code, problem=problem, inputs=inputs, expected=one, limits=limits)
        grades.append(judge.check(test, times, wakeup="asyncio" in code))
        if grades[-1].verdict is not VerdictValue.RIGHT:
            break
    return Result(grades[0], grades[-1])


def run(
    program: RemoteProgram,
    code: str,
    problem: Problem,
    inputs: list[tuple[Any, ...]],
    expected: Expected,
    limits: list[float],
) -> Grade:
    """Run a program on all inputs; stop at the first output that is not right."""
    comparison = Comparison(problem.task_id, problem.entry_point, problem.tolerance)

    def failures(function: Any) -> Iterator[str]:
        for number, (arguments, output, limit) in enumerate(zip(inputs, expected.outputs, limits, strict=True)):
            program.call_cpu_seconds = limit
            if not _is_right(comparison, function(*arguments), output, arguments):
                yield f"input {number}"

    return run_checks(program, partial(_load, program, code, problem.entry_point), problem.entry_point, failures)


def _is_right(comparison: Comparison, output: Any, expected: Any, arguments: tuple[Any, ...]) -> bool:
    try:
        return comparison.is_right(output, expected, arguments)
    except Exception:  # noqa: BLE001 (values that cannot be compared)
        return False


def _load(program: RemoteProgram, code: str, entry_point: str) -> Any:
    """Return the program's function, which need not be a function by its class; None if it does not define it."""
    names = program.load(code, bare=True, only=[entry_point])
    if entry_point not in names:
        return None
    found = names[entry_point]
    return program.variable(entry_point) if found is None else found
