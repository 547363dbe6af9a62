"""Mathematics: compare the final answer of a response with the gold answer, using math-verify.

A gold answer is parsed once per prompt. A response over the time limit is unknown, never wrong. The limit is CPU time,
so the load of the machine does not change verdicts.
"""

import logging
import re
import resource
import signal
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from fusionrun_stages.grade import Grade, right, unknown, unusable, wrong
from fusionrun_stages.grading.processes import ProcessDied, map_in_processes
from fusionrun_stages.pod.cgroup import count_cpus, memory_bytes

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
ANSWER_MAX_CHARACTERS = 100_000
"""Of a longer response only the end is parsed: it contains the final answer."""
COMPARED_MAX = 1000
"""Size of the cache of comparisons: enough for some hundred prompts."""
PIECES_MAX = 10_000
"""Size of the cache of parsed LaTeX expressions."""

_INTEGER = re.compile(r"-?[0-9]{1,15}")
_DECIMAL = re.compile(r"-?[0-9]{1,9}\.[0-9]{1,6}")  # with more than 15 digits a Float would be longer, too
_FRACTION = re.compile(r"(-?)(?:\\frac\{([0-9]{1,15})\}\{([1-9][0-9]{0,14})\}|([0-9]{1,15})/([1-9][0-9]{0,14}))")
_INTEGER_BOX = re.compile(r"\\boxed\{(-?(?:0|[1-9][0-9]{0,17}))\}")


class Problem(NamedTuple):
    """A gold answer and the responses to grade."""

    gold: str | None
    answers: list[str]


class _TimeUpError(BaseException):
    """Not an Exception: math-verify treats every Exception as a wrong answer."""


def grade_all(problems: Sequence[Problem], processes: int | None = None) -> Iterator[tuple[int, list[Grade]]]:
    """Grade every problem in a pool of processes; yield its index and one grade per response.

    If a process dies, the responses to its problem are graded again one at a time, to find the one that killed it.
    """
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    import math_verify.grader
    import math_verify.parser

    # Suppress the warning that its limits of wall time are off.
    math_verify.parser.TIMEOUT_WARNING_SHOWN = math_verify.grader.TIMEOUT_WARNING_SHOWN = True
    # The first comparison imports half of SymPy: do it once, before the processes are forked.
    x, double_x = (math_verify.parse(text, parsing_timeout=None) for text in ("$x$", "$2x$"))
    math_verify.verify(x, double_x, timeout_seconds=None)
    processes, each_bytes = share_memory(
        memory_bytes(), _memory_use()[1], min(processes or count_cpus(), max(1, len(problems)))
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


def share_memory(limit_bytes: int, inherited_bytes: int, processes: int) -> tuple[int, int]:
    """Return how many processes fit in memory, and how much memory each may add to what it inherits.

    A forked process copies inherited pages over time, since Python writes reference counts. There is one share more
    than processes: the responses to a problem that killed its process are graded in an extra one.
    """
    available_bytes = limit_bytes - PARENT_BYTES
    processes = max(1, min(processes, available_bytes // (MEMORY_MIN_BYTES + inherited_bytes) - 1))
    each_bytes = available_bytes // (processes + 1) - inherited_bytes
    return processes, min(MEMORY_BYTES, max(MEMORY_MIN_BYTES, each_bytes))


def _or_unknown(grades: list[Grade] | ProcessDied) -> Grade:
    return unknown("the grader used up its CPU time or memory") if isinstance(grades, ProcessDied) else grades[0]


def _grader(memory: int) -> Callable[[Problem], list[Grade]]:
    limit = _memory_use()[0] + memory
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    signal.signal(signal.SIGPROF, _time_up)
    read_latex_once()
    return grade_problem


def _memory_use() -> tuple[int, int]:
    """Return the size of this process's address space, and how much of it is in memory."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()
    return int(pages[0]) * resource.getpagesize(), int(pages[1]) * resource.getpagesize()


def _time_up(_signal: int, _frame: FrameType | None) -> None:
    raise _TimeUpError


def grade_problem(problem: Problem) -> list[Grade]:
    """Grade all responses to one problem."""
    try:
        gold = _limited(parse_gold, problem.gold)
    except _TimeUpError:
        gold = []
    if not gold:
        return [unusable(f"its gold answer cannot be parsed: {problem.gold!r}")] * len(problem.answers)
    grades = {answer: _grade(gold, answer) for answer in dict.fromkeys(problem.answers)}
    return [grades[answer] for answer in problem.answers]


def _grade(gold: list[Any], answer: str) -> Grade:
    try:
        grade: Grade = _limited(_compare, (gold, answer))
    except _TimeUpError:
        return unknown("the grader used up its CPU time")
    except MemoryError:
        return unknown("the grader used up its memory")
    return grade


def _compare(pair: tuple[list[Any], str]) -> Grade:
    from math_verify import parse

    gold, answer = pair
    boxed = read_integer(answer)
    if boxed is not None and len(gold) == 1 and getattr(gold[0], "is_Integer", False):
        return right() if boxed == int(gold[0]) else wrong()
    parsed = parse(answer[-ANSWER_MAX_CHARACTERS:], parsing_timeout=None)
    if not parsed:
        return wrong("no final answer found")
    return right() if _is_equal(gold, parsed) else wrong()


def _is_equal(gold: list[Any], parsed: list[Any]) -> bool:
    """Compare as math-verify does, with a shortcut for exact numbers and a cache.

    For two exact numbers math-verify tests whether their difference simplifies to zero. A text that it cannot parse
    equals no parsed gold answer. Source: math_verify.grader, sympy_expr_eq, 0.9.0.
    """
    from math_verify import verify
    from sympy import Rational

    parsed = [value for value in parsed if not isinstance(value, str)]
    if len(gold) == len(parsed) == 1 and isinstance(gold[0], Rational) and isinstance(parsed[0], Rational):
        return bool(gold[0] == parsed[0])
    # The key is the identity: math-verify distinguishes some equal objects (sets). The cache keeps the objects, so that
    # no other object gets the same id.
    pair = tuple(map(id, gold)), tuple(map(id, parsed))
    if pair not in _compared:
        if len(_compared) >= COMPARED_MAX:
            _compared.clear()
        _compared[pair] = gold, parsed, verify(gold, parsed, timeout_seconds=None)
    return _compared[pair][2]


_compared: dict[Any, tuple[list[Any], list[Any], bool]] = {}


def read_integer(answer: str) -> int | None:
    """Return the boxed integer of a response if it is the only candidate, else None.

    math-verify would return the same integer after a search of the complete text: a box has precedence over all but a
    phrase like "the final answer is", and extends to the last closing brace. Source: math_verify.parser, 0.9.0.
    """
    box = _INTEGER_BOX.search(answer)
    if box is None or answer.count("\\boxed") > 1 or "}" in answer[box.end() :] or "final answer" in answer.lower():
        return None
    return None if any(mark in answer for mark in ("$", "\\(", "\\[")) else int(box[1])


def read_latex_once() -> None:
    """Enlarge math-verify's cache of parsed LaTeX, and parse plain numbers without its parser.

    Its cache has 20 entries, and it takes milliseconds to parse an integer. Source: math_verify.parser,
    parse_latex_cached, 0.9.0.
    """
    from math_verify import parser

    if parser.parse_latex_cached.__module__ == __name__:
        return
    slow = parser.parse_latex_cached.__wrapped__

    @lru_cache(maxsize=PIECES_MAX)
    def read(latex: str) -> Any:
        number = read_number(latex)
        return slow(latex) if number is None else number

    parser.parse_latex_cached = read


def read_number(latex: str) -> Any:
    """Parse an integer, a short decimal or a fraction of integers as math-verify does; None for anything else."""
    from sympy import Float, Integer, Rational

    if _INTEGER.fullmatch(latex):
        return Integer(latex)
    if _DECIMAL.fullmatch(latex):
        return Float(latex)
    fraction = _FRACTION.fullmatch(latex)
    if fraction is None:
        return None
    top, bottom = fraction[2] or fraction[4], fraction[3] or fraction[5]
    return Rational(int(fraction[1] + top), int(bottom))


def parse_gold(gold: str | None) -> list[Any]:
    r"""Parse a gold answer; return an empty list if that fails.

    Without dollar signs math-verify parses ``\sqrt{2}``, ``(1,2)`` and ``x^2+2x+1`` to nothing.
    Source: GSM8K's answers end in ``#### 42`` (openai/grade-school-math).
    """
    from math_verify import parse

    if gold is None or not gold.strip():
        return []
    text = gold.rsplit("####", 1)[-1].strip()
    marked = text if "$" in text or "\\boxed" in text or "\\(" in text or "\\[" in text else f"${text}$"
    parsed: list[Any] = parse(marked, fallback_mode="no_fallback", parsing_timeout=None)
    return parsed


def _limited(function: Callable[[Any], Any], argument: Any) -> Any:
    """Call the function with a limit of CPU time.

    Raise _TimeUpError if Python code used up the time. In C code the kernel kills the process ``GRACE_SECONDS`` later.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    kill_at = int(used.ru_utime + used.ru_stime + CPU_SECONDS) + GRACE_SECONDS
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (kill_at, hard))
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        return function(argument)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))
