"""Mathematics: the final answer against the gold one, by math-verify.

A gold answer is parsed once for all its prompt's answers. What takes too long is unknown, never wrong: the limit is
on CPU time, so that a loaded machine changes no verdict.
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
from fusionrun_stages.grading.processes import Died, map_in_processes
from fusionrun_stages.pod.cgroup import count_cpus, memory_bytes

CPU_SECONDS = 5.0
"""CPU time for one answer. Source: math-verify's default limit of 5 s, there of wall time."""
GRACE_SECONDS = 3
"""More CPU time until the kernel ends a process that is busy in C code, where no handler runs."""
MEMORY_BYTES = 2 * 2**30
"""Most memory that one process may add: a power tower would take all there is."""
MEMORY_MIN_BYTES = 512 * 2**20
"""Least: SymPy needs it for what people write. Where there is less for each CPU fewer processes are started."""
OWN_BYTES = 512 * 2**20
"""What the pod holds beside its processes: SymPy itself, and a batch of answers."""
ANSWER_MAX_CHARACTERS = 100_000
"""Of a longer answer the end is read: there is where the final answer stands."""


COMPARED_MAX = 1000
"""Comparisons that a process keeps: those of some hundred prompts."""
PIECES_MAX = 10_000
"""Pieces of LaTeX whose meaning a process keeps."""

_INTEGER = re.compile(r"-?[0-9]{1,15}")
_DECIMAL = re.compile(r"-?[0-9]{1,9}\.[0-9]{1,6}")  # with more than 15 digits a Float would be longer, too
_FRACTION = re.compile(r"(-?)(?:\\frac\{([0-9]{1,15})\}\{([1-9][0-9]{0,14})\}|([0-9]{1,15})/([1-9][0-9]{0,14}))")
_INTEGER_BOX = re.compile(r"\\boxed\{(-?(?:0|[1-9][0-9]{0,17}))\}")


class Question(NamedTuple):
    """A gold answer and all answers to judge by it."""

    gold: str | None
    answers: list[str]


class _TimeUpError(BaseException):
    """Not an Exception: math-verify takes every Exception for a wrong answer."""


def grade_all(questions: Sequence[Question], processes: int | None = None) -> Iterator[tuple[int, list[Grade]]]:
    """Grade every question in a pool of processes; yield its index and one grade per answer.

    Notes
    -----
    A question whose process died is graded again, one answer at a time, so that the one to blame is found.
    """
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    import math_verify.grader
    import math_verify.parser

    # It would warn that its own limits (of wall time) are off.
    math_verify.parser.TIMEOUT_WARNING_SHOWN = math_verify.grader.TIMEOUT_WARNING_SHOWN = True
    # Once, here: the processes are forked, and the first comparison imports half of SymPy.
    one, two = (math_verify.parse(text, parsing_timeout=None) for text in ("$x$", "$2x$"))
    math_verify.verify(one, two, timeout_seconds=None)
    processes, each_bytes = share_memory(
        memory_bytes(), _memory_use()[1], min(processes or count_cpus(), max(1, len(questions)))
    )
    grader = partial(_grader, each_bytes)
    for index, grades in map_in_processes(grader, questions, processes):
        if not isinstance(grades, Died):
            yield index, grades
            continue
        gold, answers = questions[index]
        single = [Question(gold, [answer]) for answer in answers]
        found = dict(map_in_processes(grader, single, 1))
        yield index, [_or_unknown(found[i]) for i in range(len(single))]


def share_memory(have_bytes: int, inherited_bytes: int, processes: int) -> tuple[int, int]:
    """Return how many processes fit, and how much memory each may add to what it inherits.

    Notes
    -----
    What a forked process inherits becomes its own with time, since Python writes to all that it looks at. There is one
    share more than processes: the answers of a question that killed its process are graded in another one.
    """
    left = have_bytes - OWN_BYTES
    processes = max(1, min(processes, left // (MEMORY_MIN_BYTES + inherited_bytes) - 1))
    each_bytes = left // (processes + 1) - inherited_bytes
    return processes, min(MEMORY_BYTES, max(MEMORY_MIN_BYTES, each_bytes))


def _or_unknown(grades: list[Grade] | Died) -> Grade:
    return unknown("the grader used up its CPU time or memory") if isinstance(grades, Died) else grades[0]


def _grader(memory: int) -> Callable[[Question], list[Grade]]:
    most = _memory_use()[0] + memory
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    signal.signal(signal.SIGPROF, _time_up)
    read_latex_once()
    return grade_question


def _memory_use() -> tuple[int, int]:
    """Return the size of this process's address space, and how much of it is in memory."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()
    return int(pages[0]) * resource.getpagesize(), int(pages[1]) * resource.getpagesize()


def _time_up(_signal: int, _frame: FrameType | None) -> None:
    raise _TimeUpError


def grade_question(question: Question) -> list[Grade]:
    """Grade all answers to one question."""
    try:
        gold = _limited(parse_gold, question.gold)
    except _TimeUpError:
        gold = []
    if not gold:
        return [unusable(f"its gold answer cannot be parsed: {question.gold!r}")] * len(question.answers)
    grades = {answer: _grade(gold, answer) for answer in dict.fromkeys(question.answers)}
    return [grades[answer] for answer in question.answers]


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
    found = parse(answer[-ANSWER_MAX_CHARACTERS:], parsing_timeout=None)
    if not found:
        return wrong("no final answer found")
    return right() if _is_equal(gold, found) else wrong()


def _is_equal(gold: list[Any], found: list[Any]) -> bool:
    """Compare as math-verify does: exact numbers at once, and the same two values only once.

    Notes
    -----
    Of two exact numbers math-verify asks at last whether their difference simplifies to zero.
    Source: math_verify.grader, sympy_expr_eq, 0.9.0. A text that it could not parse equals no parsed gold answer.
    """
    from math_verify import verify
    from sympy import Rational

    found = [value for value in found if not isinstance(value, str)]
    if len(gold) == len(found) == 1 and isinstance(gold[0], Rational) and isinstance(found[0], Rational):
        return bool(gold[0] == found[0])
    # The very objects, since equal ones (sets) may be told apart; kept, so that no other gets their place in memory.
    pair = tuple(map(id, gold)), tuple(map(id, found))
    if pair not in _compared:
        if len(_compared) >= COMPARED_MAX:
            _compared.clear()
        _compared[pair] = gold, found, verify(gold, found, timeout_seconds=None)
    return _compared[pair][2]


_compared: dict[Any, tuple[list[Any], list[Any], bool]] = {}


def read_integer(answer: str) -> int | None:
    """Read the one boxed integer of an answer where nothing else could be meant; None otherwise.

    Notes
    -----
    What math-verify would find there, without its search of the whole text: a box comes before all but a phrase like
    "the final answer is", and reaches to the last closing brace. Source: math_verify.parser, 0.9.0.
    """
    box = _INTEGER_BOX.search(answer)
    if box is None or answer.count("\\boxed") > 1 or "}" in answer[box.end() :] or "final answer" in answer.lower():
        return None
    return None if any(mark in answer for mark in ("$", "\\(", "\\[")) else int(box[1])


def read_latex_once() -> None:
    """Let math-verify keep what it made of a piece of LaTeX, and read plain numbers without its parser.

    Notes
    -----
    It keeps the last 20 pieces only, and an integer takes it milliseconds. Source: math_verify.parser,
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
    """Read an integer, a short decimal or a fraction of integers as math-verify's parser does; None for all else."""
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
    r"""Parse a gold answer; the list is empty when that cannot be done.

    Notes
    -----
    Without dollar signs math-verify parses ``\sqrt{2}``, ``(1,2)`` and ``x^2+2x+1`` to nothing.
    Source: GSM8K's answers end in ``#### 42`` (openai/grade-school-math).
    """
    from math_verify import parse

    if gold is None or not gold.strip():
        return []
    text = gold.rsplit("####", 1)[-1].strip()
    marked = text if "$" in text or "\\boxed" in text or "\\(" in text or "\\[" in text else f"${text}$"
    found: list[Any] = parse(marked, fallback_mode="no_fallback", parsing_timeout=None)
    return found


def _limited(function: Callable[[Any], Any], argument: Any) -> Any:
    """Call the function under the limit of CPU time.

    Raises
    ------
    _TimeUpError
        If the time was used up in Python code. In C code the kernel ends the process a little later.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    last = int(used.ru_utime + used.ru_stime + CPU_SECONDS) + GRACE_SECONDS
    before, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (last, most))
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        return function(argument)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_CPU, (before, most))
