"""Small Python functions: two or three operations on one integer.

The prompt, the right program and its tests come from one grammar. This module never executes a program: `is_right`
parses it with the grammar and compares its results.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from tiny.skill import Item

NAME = "coding"
ENTRY_POINT = "f"


@dataclass(frozen=True)
class Operation:
    """An operation of the grammar: its description, its source code and its function."""

    description: str
    source: str
    apply: Callable[[int, int], int]
    takes_number: bool = True


_OPERATIONS = (
    Operation("add {k}", "x + {k}", lambda x, k: x + k),
    Operation("subtract {k}", "x - {k}", lambda x, k: x - k),
    Operation("multiply by {k}", "x * {k}", lambda x, k: x * k),
    Operation("divide by {k}", "x // {k}", lambda x, k: x // k),
    Operation("keep at least {k}", "max(x, {k})", lambda x, k: max(x, k)),
    Operation("keep at most {k}", "min(x, {k})", lambda x, k: min(x, k)),
    Operation("square it", "x * x", lambda x, _: x * x, takes_number=False),
    Operation("negate it", "-x", lambda x, _: -x, takes_number=False),
)
_SLIPS = {0: 1, 1: 0, 2: 6, 3: 2, 4: 5, 5: 4, 6: 2, 7: 1}
_PROBES = (-23, -7, -2, -1, 0, 1, 2, 3, 5, 8, 13, 40)
_LINE = re.compile(r"    x = (.+)")

Step = tuple[int, int]


def write_prompt(steps: list[Step]) -> str:
    """Describe the steps."""
    description = ", then ".join(_OPERATIONS[op].description.format(k=k) for op, k in steps)
    return f"Write a Python function f(x): {description}."


def write_program(steps: list[Step]) -> str:
    """Write the steps as a Python function in a code block."""
    lines = "".join(f"    x = {_OPERATIONS[op].source.format(k=k)}\n" for op, k in steps)
    return f"```python\ndef {ENTRY_POINT}(x):\n{lines}    return x\n```"


def compute(steps: list[Step], x: int) -> int:
    """Apply the steps to x."""
    for op, k in steps:
        x = _OPERATIONS[op].apply(x, k)
    return x


def write_tests(steps: list[Step]) -> tuple[str, ...]:
    """Write one assertion per probe."""
    return tuple(f"assert {ENTRY_POINT}({x}) == {compute(steps, x)}" for x in _PROBES)


def draw(rng: random.Random) -> Item:
    """Draw two or three operations with their numbers."""
    steps = [_draw_step(rng) for _ in range(rng.choice((2, 2, 3)))]
    return Item(
        key=repr(steps),
        prompt=write_prompt(steps),
        answer=write_program(steps),
        reference=write_program(steps),
        tests=write_tests(steps),
    )


def corrupt(item: Item, rng: random.Random) -> str:
    """Change an operation, a number or the order, drop a step, or make a syntax error."""
    steps = read_steps(item.answer)
    while True:
        text = _slip(list(steps), rng)
        if not is_right(item, text):
            return text


def misread(item: Item) -> str:
    """Confuse min and max, and divide without rounding."""
    swapped = item.answer.replace("max(", "?(").replace("min(", "max(").replace("?(", "min(")
    return swapped.replace("//", "/")


def is_right(item: Item, text: str) -> bool:
    """Return whether a program gives the right result for every probe.

    A program outside the grammar is wrong. The pipeline runs the tests instead.
    """
    try:
        steps = read_steps(text)
    except ValueError:
        return False
    wanted = read_steps(item.reference)
    return all(compute(steps, x) == compute(wanted, x) for x in _PROBES)


def read_steps(program: str) -> list[Step]:
    """Parse the steps of a program of the grammar.

    Raises
    ------
    ValueError
        The text is not a program of the grammar.
    """
    head, tail = f"```python\ndef {ENTRY_POINT}(x):\n", "    return x\n```"
    if not (program.startswith(head) and program.endswith(tail)):
        raise ValueError(program)
    lines = program[len(head) : -len(tail)].splitlines()
    return [_read_line(line) for line in lines]


def _draw_step(rng: random.Random) -> Step:
    op = rng.randrange(len(_OPERATIONS))
    return op, rng.randint(2, 9) if _OPERATIONS[op].takes_number else 0


def _slip(steps: list[Step], rng: random.Random) -> str:
    place = rng.randrange(len(steps))
    op, k = steps[place]
    kind = rng.random()
    if kind < 0.45:
        other = _SLIPS[op]
        takes_number = _OPERATIONS[other].takes_number
        steps[place] = (other, (k or rng.randint(2, 9)) if takes_number else 0)
    elif kind < 0.7:
        steps.pop()
    elif kind < 0.9:
        steps = [steps[-1], *steps[1:-1], steps[0]]
    else:
        return write_program(steps).replace("(x):", "(x)", 1)
    return write_program(steps)


def _read_line(line: str) -> Step:
    match = _LINE.fullmatch(line)
    for op, operation in enumerate(_OPERATIONS):
        pattern = re.escape(operation.source).replace(r"\{k\}", r"(\d)")
        found = match and re.fullmatch(pattern, match[1])
        if found:
            return op, int(found[1]) if operation.takes_number else 0
    raise ValueError(line)
