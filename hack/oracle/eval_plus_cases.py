"""Invent texts, outputs and problems in the form of EvalPlus, by seed. No row of a benchmark is here."""
# ruff: noqa: E501 (one program per line)

import random
from collections.abc import Iterator
from typing import Any, NamedTuple


class Output(NamedTuple):
    """An output of a program, the expected one, and the arguments, as Python literals."""

    task_id: str
    entry_point: str
    tolerance: float
    arguments: str
    """A list of the arguments of each call."""
    output: str
    """A list of the output of each call."""
    expected: str


PARTS = [
    "import math",
    "from typing import List, Optional",
    "import os, sys; import re",
    "from collections import (\n    Counter,\n    deque,\n)",
    "from __future__ import annotations",
    "from . import sibling",
    "LIMIT = 10 ** 6",
    "left, right = 1, 2",
    "first = second = 3",
    "table: dict[str, int] = {}",
    "size: int",
    "table['a'] = LIMIT",
    "Box.width = LIMIT",
    "LIMIT += 1",
    "a = 1; b = helper(2)",
    "square = lambda x: x * x",
    "def target(x):\n    return helper(x) + 1",
    "def target(x: int) -> int:\n    '''Add one.\n\n    def inner(): pass\n    '''\n    total = x\n    for i in range(LIMIT):\n"
    "        total += square(i)\n    return total",
    "def target(x):\n    # Uses a nested function.\n    def inner(y):\n        return other(y)\n    return inner(x)",
    "async def target(x):\n    return await helper(x)",
    "def target(x):\n    yield helper(x)",
    "def target(x):\n    print(x)",
    "@cache\ndef target(x):\n    return helper(x)",
    "def helper(x):\n    return f'{other(x):>{LIMIT}} {Box(x).width!r}'",
    "def helper(x):\n    return Box(width=x).area",
    "def helper(x):\n    return x if x < 2 else helper(x - 1) + target(x - 2)",
    "def other(x):\n    pass",
    "def other(x, *rest, key=LIMIT, **more):\n    return [square(i) for i in rest]",
    "@lru_cache(maxsize=None)\ndef other(x):\n    return x",
    "class Box:\n    def __init__(self, width):\n        self.width = width\n\n    @property\n    def area(self):\n"
    "        return self.width ** 2",
    "class Box(Base):\n    height = LIMIT",
    "@dataclass\nclass Box:\n    width: int",
    "try:\n    import numpy as np\nexcept ImportError:\n    np = None",
    "if True:\n    LIMIT = 5",
    "for i in range(3):\n    print(target(i))",
    "assert target(1) == 2",
    "assert helper(3) == (4, 'a'), \"text with 'quotes'\"",
    "def check(candidate):\n    assert candidate(1) == 2\n\ncheck(target)",
    "def test_target():\n    return target(1)",
    "print(target(5))",
    "if __name__ == '__main__':\n    print(target(3))",
    "'''\nExamples:\n>>> target(1)\n2\n'''",
    "# A comment about the target.",
    "match LIMIT:\n    case {'a': found, **rest}:\n        helper(found)",
    "with open('x') as file:\n    data = file.read()",
    "global LIMIT",
    "del LIMIT",
    "text = '''\ndef target(x):\n    return 0\n'''",
    "Here is the solution:",
    "This function adds one to its argument, and returns the result.",
    "Explanation: the loop runs n times.",
    "- it is fast\n- it is short",
    "```python",
    "```",
    "Note",
    "1. First step",
    "x = = 1",
    "def broken(",
    "    return 7",
    "print 'old'",
    "",
    "   ",
]
"""Parts of what models write, right and wrong."""


def texts(count: int, seed: int = 5) -> Iterator[str]:
    """Yield texts of responses: parts in any order, some of them damaged."""
    yield from ("", "\n", "word", "def target(x): return x", "import os", "Only prose.\nIn two lines.", "\n\n\n")
    yield from ("import os\nOnly prose here.", "def target(x):\n    return 1\n" * 2, "def target(x):\n  return 1\n x")
    chance = random.Random(seed)
    for _ in range(count):
        parts = chance.choices(PARTS, k=chance.randint(1, 9))
        if chance.random() < 0.6:
            parts.insert(chance.randint(0, len(parts)), chance.choice(PARTS[16:23]))
        yield _damage(chance, chance.choice(["\n", "\n\n", "\n\n\n"]).join(parts))


def _damage(chance: random.Random, text: str) -> str:
    kind = chance.randint(0, 9)
    position = chance.randint(0, len(text))
    lines = text.split("\n")
    number = chance.randrange(len(lines))
    match kind:
        case 0:
            return text[:position]
        case 1:
            return text[:position] + text[position + 1 :]
        case 2:
            lines[number] = " " + lines[number]
        case 3:
            lines[number] = lines[number].lstrip()
        case 4:
            lines.insert(number, chance.choice(["So we get:", "'''", "#", ")", "\\"]))
        case _:
            return text
    return "\n".join(lines)


_VALUES: list[Any] = [
    0, 1, 2, -1, True, False, None, 0.0, 1.0, 0.1 + 0.2, 0.3, 1.0000001, 1.00001, 1e-7, 1e300, float("inf"),
    float("nan"), "", "a", "ab", "1", [], [1], [1, 2], [2, 1], [1, 1, 2], [1.0, 2.0], [1.0, 2.0000001], [1.0, 2.001],
    [0.3], [0.1 + 0.2], [[1.0]], [[1.0], [2.0]], [[1.0, 1.0], [2.0, 2.0]], [[1, 2], [3]], ["a", 0.3], ["a", 0.1 + 0.2],
    (), (1,), (1, 2), (1.0, 2.0), (1.0, 2.0000001), (0.3, 1), (0.1 + 0.2, 1), {"a": 0.3}, {"a": 0.1 + 0.2}, {1, 2},
    {1: 2}, 1 + 0j, 1 + 1e-9j, 10**30, 10**30 + 1, [10**30, 0.5], [10**30 + 1, 0.5], 2**63, [True], [(1, 2)], [[1, 2]],
    -0.0, 3, [0.5, None], 100, 100.00001, [],
]  # fmt: skip
_NAMES = [
    ("HumanEval/900", "target", 0), ("HumanEval/901", "target", 1e-6), ("Mbpp/900", "target", 0),
    ("Mbpp/901", "target", 1e-4), ("Mbpp/902", "similar_elements", 0), ("HumanEval/902", "similar_elements", 0),
    ("Mbpp/903", "check_str", 0), ("HumanEval/903", "check_str", 0), ("Mbpp/904", "are_equivalent", 0),
    ("Mbpp/905", "sum_div", 0), ("HumanEval/904", "sum_div", 0),
]  # fmt: skip
_PAIRS = [(0, 1), (0.1, 0.1), (3, 4), (12, 123), (5, 2)]


def outputs(count: int, seed: int = 6) -> Iterator[Output]:
    """Yield outputs for one to three calls, equal, close and different."""
    chance = random.Random(seed)
    for _ in range(count):
        task_id, name, tolerance = chance.choice(_NAMES)
        expected = chance.choices(_VALUES, k=chance.randint(1, 3))
        if name == "check_str" and task_id.startswith("Mbpp"):
            expected = [value is not None for value in expected]
        given = [value if chance.random() < 0.5 else _near(chance, value) for value in expected]
        yield Output(task_id, name, tolerance, repr([[1]] * len(given)), repr(given), repr(expected))
    for first, second in _PAIRS:
        for name in ("surface_Area", "digit_distance_nums"):
            for value in range(0, 60, 3):
                yield Output("Mbpp/906", name, 0, repr([[first, second]]), repr([value]), "[7]")
    for root in (1.0, 1.00001, 1.001, -2.0, 2):
        yield Output("HumanEval/32", "find_zero", 1e-4, "[[[-2, 1, 1]]]", repr([root]), "[0]")
        yield Output("Mbpp/907", "find_zero", 1e-4, "[[[-2, 1, 1]]]", repr([root]), "[1.0]")


def _near(chance: random.Random, value: Any) -> Any:
    if isinstance(value, float):
        return value * (1 + chance.choice([1e-9, 1e-7, 2e-7, 1e-6, 1e-5, 1e-3]))
    if isinstance(value, list | tuple) and value:
        changed = [*value]
        changed[0] = _near(chance, changed[0])
        return chance.choice([type(value)(changed), tuple(changed), changed, changed[::-1]])
    return chance.choice(_VALUES)


PROBLEMS: list[dict[str, Any]] = [
    {
        "task_id": "HumanEval/910",
        "entry_point": "count_steps",
        "prompt": "from typing import List\n\n\ndef count_steps(heights: List[int], step: int) -> int:\n"
        '    """Count the neighbours whose difference is at most step.\n    >>> count_steps([1, 2, 5], 1)\n    1\n    """\n',
        "canonical_solution": "    return sum(abs(a - b) <= step for a, b in zip(heights, heights[1:]))\n",
        "base_input": [[[1, 2, 5], 1], [[], 3], [[4, 4, 4], 0]],
        "plus_input": [[[9], 1], [[-5, 5, -5], 10], [list(range(500)), 1]],
        "atol": 0,
        "contract": "",
    },
    {
        "task_id": "HumanEval/911",
        "entry_point": "mean_gap",
        "prompt": 'def mean_gap(numbers):\n    """Return the mean of the gaps."""\n',
        "canonical_solution": "    return (numbers[-1] - numbers[0]) / (len(numbers) - 1)\n",
        "base_input": [[[1, 2, 4]], [[0.5, 0.75]]],
        "plus_input": [[[1, 2, 2, 9]], [[-1.5, 3.25, 100.0]]],
        "atol": 0,
        "contract": "",
    },
    {
        "task_id": "Mbpp/910",
        "entry_point": "merge_words",
        "prompt": '"""\nWrite a function to merge two tuples of words without repeated ones.\n'
        "assert merge_words(('a', 'b'), ('b', 'c')) == ('a', 'b', 'c')\n\"\"\"\n",
        "canonical_solution": "\ndef merge_words(first, second):\n    return tuple(dict.fromkeys([*first, *second]))\n",
        "base_input": [[["a", "b"], ["b", "c"]], [[], ["x"]]],
        "plus_input": [[["a", "a"], ["a"]], [[], []]],
        "atol": 0,
        "contract": "",
    },
    {
        "task_id": "Mbpp/2",
        "entry_point": "similar_elements",
        "prompt": '"""\nWrite a function to find what two tuples share.\n"""\n',
        "canonical_solution": "\ndef similar_elements(one, two):\n    return tuple(set(one) & set(two))\n",
        "base_input": [[[1, 2, 3], [3, 2, 9]]],
        "plus_input": [[[], [1]], [[5, 5], [5]]],
        "atol": 0,
        "contract": "",
    },
    {
        "task_id": "HumanEval/912",
        "entry_point": "sort_pairs",
        "prompt": 'def sort_pairs(pairs):\n    """Sort the pairs in place, and return their keys as a dictionary."""\n',
        "canonical_solution": "    pairs.sort()\n    return {key: value for key, value in pairs}\n",
        "base_input": [[[["b", 1], ["a", 2]]]],
        "plus_input": [[[]], [[["x", 0], ["x", 5]]]],
        "atol": 0,
        "contract": "",
    },
]
"""Invented problems with the columns of HumanEvalPlus.jsonl and MbppPlus.jsonl."""

PROGRAMS: dict[str, list[str]] = {
    "count_steps": [
        "def count_steps(h, step):\n    return sum(abs(a - b) < step for a, b in zip(h, h[1:]))\n",
        "def count_steps(h, step):\n    return len([1 for i in range(1, len(h)) if abs(h[i] - h[i - 1]) <= step])\n",
        "def count_steps(h, step):\n    return float(sum(abs(a - b) <= step for a, b in zip(h, h[1:])))\n",
        "def count_steps(h, step):\n    return 1 if h == [1, 2, 5] else 2 if h else 0\n",
        "def count_steps(h: List[int], step):\n    return sum(abs(a - b) <= step for a, b in zip(h, h[1:]))\n",
        "def count_steps(h, step):\n    while True:\n        pass\n    return 0\n",
        "def count_steps(h, step):\n    if len(h) > 400:\n        while True:\n            pass\n"
        "    return sum(abs(a - b) <= step for a, b in zip(h, h[1:]))\n",
        "def count_steps(h, step):\n    return count_steps(h, step)\n",
        "def count_steps(h, step):\n    raise SystemExit\n    return 0\n",
        "def steps(h, step):\n    return 0\n",
        "def count_steps(h, step):\n    return 0\n\nexit()\n",
        "class count_steps:\n    def __new__(cls, h, step):\n        return sum(abs(a - b) <= step for a, b in zip(h, h[1:]))\n",
        "count_steps = lambda h, step: sum(abs(a - b) <= step for a, b in zip(h, h[1:]))\n\nextra = 1\n",
        "import functools\ndef inner(h, step):\n    return sum(abs(a - b) <= step for a, b in zip(h, h[1:]))\n"
        "count_steps = functools.partial(inner)\n",
        "def count_steps(h, step)\n    return 0\n",
        "import numpy_that_is_not_there\ndef count_steps(h, step):\n    return 0\n",
        "",
    ],
    "mean_gap": [
        "def mean_gap(n):\n    gaps = [b - a for a, b in zip(n, n[1:])]\n    return sum(gaps) / len(gaps)\n",
        "def mean_gap(n):\n    return (n[-1] - n[0]) / (len(n) - 1) + 1e-8\n",
        "def mean_gap(n):\n    return (n[-1] - n[0]) / (len(n) - 1) + 1e-4\n",
        "def mean_gap(n):\n    return (n[-1] - n[0]) // (len(n) - 1)\n",
        "from fractions import Fraction\ndef mean_gap(n):\n    return Fraction(n[-1] - n[0]) / (len(n) - 1)\n",
        "def mean_gap(n):\n    return str((n[-1] - n[0]) / (len(n) - 1))\n",
    ],
    "merge_words": [
        "def merge_words(a, b):\n    return a + tuple(w for w in b if w not in a)\n",
        "def merge_words(a, b):\n    return [*dict.fromkeys([*a, *b])]\n",
        "def merge_words(a, b):\n    return tuple(sorted({*a, *b}))\n",
        "def merge_words(a, b):\n    return tuple(w for w in (*a, *b))\n",
    ],
    "similar_elements": [
        "def similar_elements(a, b):\n    return [x for x in a if x in b]\n",
        "def similar_elements(a, b):\n    return {*a} | {*b}\n",
        "def similar_elements(a, b):\n    return None\n",
        "def similar_elements(a, b):\n    return (x for x in a if x in b)\n",
    ],
    "sort_pairs": [
        "from collections import OrderedDict\ndef sort_pairs(p):\n    return OrderedDict(sorted(map(tuple, p)))\n",
        "def sort_pairs(p):\n    return sorted(p)\n",
        "def sort_pairs(p):\n    p.reverse()\n    return dict(p)\n",
        "def sort_pairs(p):\n    class Odd(dict):\n        def __eq__(self, other):\n            return True\n    return Odd()\n",
    ],
}
"""Programs by entry point: other solutions, mutants, and programs that crash or do not end."""
