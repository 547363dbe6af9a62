"""Run a program on all tests of a problem; it is right if it passes all."""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from fusionrun.api.evaluation_records import Question
from fusionrun_stages.grade import Grade, unusable, wrong
from fusionrun_stages.grading.coding.benchmark import Result
from fusionrun_stages.grading.coding.checks import run_checks
from fusionrun_stages.grading.coding.static import analyse
from fusionrun_stages.grading.live_code_bench.extraction import read_program
from fusionrun_stages.grading.live_code_bench.outputs import is_same_output, is_same_result
from fusionrun_stages.grading.live_code_bench.problem import Case, Problem, read_problem
from fusionrun_stages.grading.live_code_bench.program import FUNCTION, build_module, build_script
from fusionrun_stages.sandbox.judge import Judge, TimeLimits
from fusionrun_stages.sandbox.proxies import RemoteObject, RemoteProgram

TEST_SECONDS = 6.0
"""Time of each test, and of loading the program; here it is CPU time, so that other processes do not matter. Source:
FuseEval, lcb_runner/runner/parser.py, ``--timeout``."""
REPLY_SECONDS = 30.0
"""Wall time of a test after which the program is disturbed, or sleeps."""
SHOWN_CHARACTERS = 100


def check(judge: Judge, question: Question, texts: Sequence[str]) -> list[Result]:
    """Return the results of the responses to a question."""
    try:
        problem = read_problem(question.data)
    except (ValueError, RecursionError) as error:
        return [Result(unusable(f"its tests cannot be used: {error}"))] * len(texts)
    return [Result(_check_one(judge, text, problem)) for text in texts]


def _check_one(judge: Judge, text: str, problem: Problem) -> Grade:
    program = read_program(text, problem.partial_solution)
    if not program.strip():
        return wrong("static: there is no program")
    code = build_module(program) if problem.function else build_script(program)
    if fault := analyse(code):
        return fault
    loaded = len(problem.tests) + 1
    times = TimeLimits(math.ceil(TEST_SECONDS * loaded), REPLY_SECONDS * loaded, REPLY_SECONDS)
    return judge.check(partial(run, code=code, problem=problem), times, wakeup="asyncio" in program)


def run(program: RemoteProgram, code: str, problem: Problem) -> Grade:
    """Run a program on all tests; stop at the first that it does not pass."""
    program.call_cpu_seconds = TEST_SECONDS

    def failures(function: Any) -> Iterator[str]:
        for number, test in enumerate(problem.tests):
            if fault := _fails(program, function, test, reads_input=problem.function is None):
                yield f"test {number}: {fault}"

    load = partial(_load, program, code, problem.function)
    return run_checks(program, load, problem.function or "a program", failures)


def _load(program: RemoteProgram, code: str, function: str | None) -> Any:
    """Return the function, or the method of a new ``Solution`` if the program mentions this class."""
    name = FUNCTION if function is None else "Solution" if "class Solution" in code else function
    names = program.load(code, bare=True, only=[name], cpu_seconds=TEST_SECONDS)
    if name not in names:
        return None
    found = program.variable(name) if names[name] is None else names[name]
    return getattr(found(), str(function)) if name == "Solution" != function else found


def _fails(program: RemoteProgram, function: RemoteObject, test: Case, *, reads_input: bool) -> str | None:
    """Return how a program fails a test; None if it passes."""
    if reads_input:
        printed = program.run_with_input(function, test.given)
        if isinstance(printed, str) and is_same_output(printed, test.expected):
            return None
        return f"it prints {str(printed)[:SHOWN_CHARACTERS]!r}"
    result = function(*test.given)
    try:
        same = is_same_result(result, test.expected)
    except (TypeError, ValueError):
        return "its result is not a value of JSON"
    return None if same else f"it returns {str(result)[:SHOWN_CHARACTERS]}"
