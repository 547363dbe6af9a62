"""Invent responses, outputs and problems in the form of LiveCodeBench, by seed. No row of a benchmark is here."""
# ruff: noqa: E501 (one program per line)

import random
from collections.abc import Iterator
from typing import Any, NamedTuple


class Problem(NamedTuple):
    """A problem with its tests and programs, right and wrong."""

    function: str | None
    tests: list[tuple[str, str]]
    """Input and output."""
    programs: list[str]


_SUM_TESTS = [("3\n1 2 3\n", "6\n"), ("1\n-5\n", "-5\n"), ("2\n1000000 1\n", "1000001")]
_SUM = [
    "n = int(input())\nprint(sum(map(int, input().split())))",
    "import sys\ndata = sys.stdin.read().split()\nprint(sum(map(int, data[1:])))",
    "from sys import stdin\nn = int(stdin.readline())\nprint(sum(map(int, stdin.readline().split())))",
    "import sys\ninput = sys.stdin.readline\nn = int(input())\nprint(sum(map(int, input().split())))",
    "import sys\nlines = sys.stdin.readlines()\nprint(sum(map(int, lines[1].split())))",
    "import sys\nlines = [line for line in sys.stdin]\nprint(sum(map(int, lines[1].split())))",
    "from sys import stdin\nlines = [line for line in stdin]\nprint(sum(map(int, lines[1].split())))",
    "import sys\ndata = sys.stdin.buffer.read().split()\nprint(sum(map(int, data[1:])))",
    "data = open(0).read().split()\nprint(sum(map(int, data[1:])))",
    "import os\ndata = os.read(0, 10 ** 6).split()\nprint(sum(map(int, data[1:])))",
    "def main():\n    n = int(input())\n    print(sum(map(int, input().split())))\n\nif __name__ == '__main__':\n    main()",
    'def main():\n    n = int(input())\n    print(sum(map(int, input().split())))\n\nif __name__ == "__main__":\n    main()',
    "def main():\n    n = int(input())\n    print(sum(map(int, input().split())))\n\nif __name__ == '__main__':\n    main()\n"
    "done = True",
    "def main():\n    n = int(input())\n    print(sum(map(int, input().split())))\nmain()",
    "total = 0\ndef add(x):\n    global total\n    total += x\nn = int(input())\nfor x in input().split():\n    add(int(x))\nprint(total)",
    "total = 0\ndef add(x):\n    nonlocal total\n    total += x\nn = int(input())\nfor x in input().split():\n    add(int(x))\nprint(total)",
    "import sys\nn = int(input())\nsys.stdout.write(str(sum(map(int, input().split()))))",
    "from sys import stdout\nn = int(input())\nstdout.write(str(sum(map(int, input().split()))))",
    "import sys\nn = int(input())\nsys.stdout.buffer.write(str(sum(map(int, input().split()))).encode())",
    "import os\nn = int(input())\nos.write(1, str(sum(map(int, input().split()))).encode())",
    "import sys\nn = int(input())\nprint(sum(map(int, input().split())))\nsys.exit()",
    "import sys\nn = int(input())\nprint(sum(map(int, input().split())))\nsys.exit(1)",
    "n = int(input())\nprint(sum(map(int, input().split())))\nexit()",
    "n = int(input())\nprint(sum(map(int, input().split())))\nraise SystemExit",
    "n = int(input())\nprint(sum(map(int, input().split())))\nquit()",
    "n = int(input())\nprint(' ', sum(map(int, input().split())), '  ')\nprint()",
    "n = int(input())\nprint('Sum:', sum(map(int, input().split())))",
    "n = int(input())\nprint(max(map(int, input().split())))",
    "n = int(input())\nprint(float(sum(map(int, input().split()))))",
    "print(6)",
    "n = input()\nm = input()\nrest = input()\nprint(sum(map(int, m.split())))",
    "n = int(input())\nprint(sum(map(int, input().split())) / 0)",
    "n = int(input()\nprint(3)",
    "import numpy_that_is_not_there\nprint(3)",
    "",
    "# nothing",
    "import sys",
    "from functools import (\n    reduce,\n    lru_cache,\n)\nn = int(input())\nprint(reduce(lambda a, b: a + b, map(int, input().split())))",
    "import sys\nsys.setrecursionlimit(10 ** 6)\ndef add(values):\n    return values[0] + add(values[1:]) if values else 0\n"
    "n = int(input())\nprint(add([*map(int, input().split())]))",
    "import threading\ndef main():\n    n = int(input())\n    print(sum(map(int, input().split())))\nt = threading.Thread(target=main)\n"
    "t.start()\nt.join()",
    "n = int(input())\nvalues = [*map(int, input().split())]\ntext = '''\nlines\n'''\nassert len(text) == 7\nprint(sum(values))",
    "n = int(input())\nheap = []\nfor x in map(int, input().split()):\n    heappush(heap, x)\nprint(sum(heap))",
    "class Adder:\n    total = 0\n    def add(self, x):\n        self.total += x\na = Adder()\ninput()\nfor x in input().split():\n"
    "    a.add(int(x))\nprint(a.total)",
    "input()\nwhile True:\n    pass",
    "input()\nx = sum(map(int, input().split()))\nif x < 0:\n    while True:\n        pass\nprint(x)",
    "def f(x):\n    return f(x)\nf(1)",
    "stdin = sys.stdin\nn = int(stdin.readline())\nprint(sum(map(int, stdin.readline().split())))",
    "n = int(stdin.readline())\nprint(sum(map(int, stdin.readline().split())))",
    "try:\n    n = int(input())\n    print(sum(map(int, input().split())))\nexcept EOFError:\n    pass",
    "\tn = int(input())\n\tprint(sum(map(int, input().split())))",
    "n = int(input())\nif n > 0:\n\tprint(sum(map(int, input().split())))",
    "x: int = int(input())\nprint(sum(map(int, input().split())))",
    "import sys as system\nn = int(input())\nprint(sum(map(int, input().split())), file=system.stdout)",
    "import sys\nprint(sum(map(int, sys.stdin.read().split('\\n')[1].split())), file=sys.stderr)",
]
_TWO_SUM_TESTS = [("[2, 7, 11]\n9", "[0, 1]"), ("[3, 3]\n6", "[0, 1]"), ("[1, 5, -5]\n-4", "[0, 2]")]
_FIND = "        for i, a in enumerate(nums):\n            for j in range(i + 1, len(nums)):\n                if a + nums[j] == target:\n"
_TWO_SUM = [
    f"class Solution:\n    def pair(self, nums: List[int], target: int) -> List[int]:\n{_FIND}                    return [i, j]\n",
    f"class Solution:\n    def pair(self, nums, target):\n{_FIND}                    return i, j\n",
    f"class Solution:\n    def pair(self, nums, target):\n{_FIND}                    return {{i, j}}\n",
    f"class Solution:\n    def pair(self, nums, target):\n{_FIND}                    return iter([i, j])\n",
    f"class Solution:\n    def pair(self, nums, target):\n{_FIND}                    return deque([i, j])\n",
    f"class Solution:\n    def pair(self, nums, target):\n{_FIND}                    return [[i, j]]\n",
    f"class Solution:\n    def pair(self, nums, target):\n{_FIND}                    return [float(i), float(j)]\n",
    f"class Solution:\n    def pair(self, nums, target):\n{_FIND}                    return j, i\n",
    f"class Solution:\n    @staticmethod\n    def pair(nums, target):\n{_FIND}                    return [i, j]\n",
    f"class Solution:\n    def __init__(self):\n        self.seen = []\n    def pair(self, nums, target):\n        self.seen.append(1)\n"
    f"{_FIND}                    return [i, j] if len(self.seen) < 3 else []\n",
    f"class Solution:\n    def other(self, nums, target):\n{_FIND}                    return [i, j]\n",
    "def pair(nums, target):\n    for i, a in enumerate(nums):\n        for j in range(i + 1, len(nums)):\n"
    "            if a + nums[j] == target:\n                return [i, j]\n",
    "def pair(nums, target):\n    return Solution().find(nums, target)\nclass Solution:\n    def find(self, nums, target):\n        return [0, 1]\n",
    "pair = lambda nums, target: next([i, j] for i in range(len(nums)) for j in range(i + 1, len(nums)) if nums[i] + nums[j] == target)",
    "@cache\ndef find(nums, target):\n    return next([i, j] for i in range(len(nums)) for j in range(i + 1, len(nums)) if nums[i] + nums[j] == target)\n"
    "def pair(nums, target):\n    return find(tuple(nums), target)\n",
    "class Solution:\n    def pair(self, nums, target):\n        return [0, 1]\n",
    "class Solution:\n    def pair(self, nums, target):\n        raise ValueError('no pair')\n",
    "class Solution:\n    def pair(self, nums):\n        return [0, 1]\n",
    "class Solution:\n    def __init__(self, size):\n        pass\n    def pair(self, nums, target):\n        return [0, 1]\n",
    "class Solution:\n    def pair(self, nums, target):\n        sys.exit()\n",
    "class Solution:\n    def pair(self, nums, target):\n        return None\n",
    "class Solution:\n    def pair(self, nums, target):\n        while True:\n            pass\n",
    "class Solution:\n    def pair(self, nums, target)\n        return [0, 1]\n",
    "print(1 / 0)\nclass Solution:\n    def pair(self, nums, target):\n        return [0, 1]\n",
    f"print('loaded')\nx = input\nclass Solution:\n    def pair(self, nums, target):\n        print(nums)\n{_FIND}                    return [i, j]\n",
    "",
]
PROBLEMS = [
    Problem(None, _SUM_TESTS, _SUM),
    Problem(
        None,
        [("0.5 0.25\n", "0.1250000000"), ("3 4\n", "12.0\n"), ("-2 5\n", "-10.0\n\n")],
        [
            "a, b = map(float, input().split())\nprint(a * b)",
            "a, b = map(float, input().split())\nprint(f'{a * b:.2f}')",
            "a, b = map(float, input().split())\nprint(f'{a * b:.6f}')",
            "a, b = map(float, input().split())\nprint(a * b + 1e-7)",
            "a, b = map(float, input().split())\nprint(round(a * b))",
            "a, b = map(float, input().split())\nprint(a * b, a * b)",
        ],
    ),
    Problem(
        None,
        [("2\nab\nc d\n", "AB\nC D\n"), ("0\n", "\n")],
        [
            "for _ in range(int(input())):\n    print(input().upper())",
            "for _ in range(int(input())):\n    print(input().upper(), end='  \\n')",
            "for _ in range(int(input())):\n    print(input().upper() + '\\n')",
            "print('\\n'.join(input().upper() for _ in range(int(input()))))",
            "for _ in range(int(input())):\n    print(*input().upper().split(), sep='\\n')",
            "for _ in range(int(input())):\n    print(input())",
        ],
    ),
    Problem("pair", _TWO_SUM_TESTS, _TWO_SUM),
    Problem(
        "invert",
        [('{"1": 2, "3": 4}', '{"2": 1, "4": 3}'), ("{}", "{}")],
        [
            "def invert(table):\n    return {value: key for key, value in table.items()}",
            "def invert(table):\n    return {str(value): int(key) for key, value in table.items()}",
            "def invert(table):\n    return [{value: key for key, value in table.items()}]",
            "def invert(table):\n    return {(value,): key for key, value in table.items()}",
        ],
    ),
    Problem(
        "halve",
        [("3", "1.5"), ("0.2", "0.1"), ("1", "0.5")],
        [
            "def halve(x):\n    return x / 2",
            "def halve(x):\n    return x / 2 + 1e-12",
            "def halve(x):\n    return str(x / 2)",
            "from decimal import Decimal\ndef halve(x):\n    return Decimal(x) / 2",
        ],
    ),
]

_LINES = [
    "6", "6.0", "-6", "-6.00001", "6.00001", "6.0000001", "0.1", "0.10000001", "1 2 3", "1  2 3", "1.0 2.0", "1 2", "Yes",
    "YES", "yes", "", " ", "1e3", "1000", "nan", "inf", "-inf", "1000000", "1000001", "-1000000", "-1000001", "1_000", "a b",
    "٣", "3", "²",
]  # fmt: skip
_ENDS = ["\n", " \n", "\n\n", "\r\n", "\n ", "\t\n", "\x0b", "\u2028", ""]


def outputs(count: int, seed: int = 7) -> Iterator[tuple[str, str]]:
    """Yield a printed and an expected output."""
    chance = random.Random(seed)
    for _ in range(count):
        lines = chance.choices(_LINES, k=chance.randint(0, 4))
        other = [line if chance.random() < 0.7 else chance.choice(_LINES) for line in lines]
        yield _write(chance, other), _write(chance, lines)


def _write(chance: random.Random, lines: list[str]) -> str:
    ends = [chance.choice(_ENDS) if chance.random() < 0.3 else "\n" for _ in lines]
    start = chance.choice(["", "", "", " ", "\n"])
    return start + "".join(line + end for line, end in zip(lines, ends, strict=True))


_RESULTS: list[Any] = [
    0, 1, -1, 1.0, 1.5, 0.1 + 0.2, 0.3, True, False, None, "", "a", "1", [], [1], [1, 2], (1, 2), [[1, 2]], [(1, 2)],
    ((1, 2),), [[[1, 2]]], [(1, 2), (3, 4)], [[1, 2], [3, 4]], [[[1, 2], [3, 4]]], ["a"], [None], {"a": 1}, {1: 2},
    {"1": 2}, [{"1": 2}], [{1: 2}], [{1: 2}, 5], {1, 2}, {(1, 2): 3}, 1j, b"a", [True], [0.3], [0.1 + 0.2], 10**20, float(10**20),
]  # fmt: skip
_EXPECTED = [
    "0", "1", "1.0", "1.5", "0.3", "true", "null", '""', '"a"', '"1"', "[]", "[1]", "[1, 2]", "[[1, 2]]", "[[1, 2], [3, 4]]",
    "[[[1, 2], [3, 4]]]", '["a"]', "[null]", '{"a": 1}', '{"1": 2}', '[{"1": 2}]', '[{"1": 2}, 5]', "[0.3]", "[[[1, 2]]]",
    "100000000000000000000", "[[]]", "[[], []]", "{}", "[{}]",
]  # fmt: skip


def results() -> Iterator[tuple[str, str]]:
    """Yield the result of a function as a Python literal, and the expected value as JSON."""
    yield from ((repr(result), expected) for result in _RESULTS for expected in _EXPECTED)


_PARTS = [
    "```python", "```", "```py", "Some prose.", "print(1)", "x = '```'", "    ```", "text ``` more", "``", "~~~", "",
    "def f():", "    return 1", "````", "- `code`", "[PYTHON]", "\r", "```\r",
]  # fmt: skip


def responses(count: int, seed: int = 8) -> Iterator[str]:
    """Yield texts of responses with fences."""
    chance = random.Random(seed)
    for _ in range(count):
        yield "\n".join(chance.choices(_PARTS, k=chance.randint(0, 10)))
