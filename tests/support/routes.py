"""Programs that would pass by a fault of the judge: each route with variants. None may be right.

Used by the stage tests and, as the cases of ``judge_attacks.py``, on the cluster.
"""
# ruff: noqa: E501 (one program per line)

from typing import NamedTuple

from support.hostile import UNKNOWN, WRONG


class Route(NamedTuple):
    """A program that gives a wrong answer, and the tests that it would pass."""

    name: str
    program: str
    tests: list[str]
    entry_point: str | None
    verdict: str


def _indent(text: str) -> str:
    return "    " + text.replace("\n", "\n    ")


LIE = "def f(*a):\n    return 99\n"
GUARDS = [
    Route("guard: around the assertion", LIE, ["r = f(1, 2)\nif __name__ == '__main__':\n    assert r == 3"], None, WRONG),
    Route("guard: calls the tests", LIE,
          ["def run_tests():\n    assert f(1, 2) == 3\nprint(f(1, 2))\nif __name__ == '__main__':\n    run_tests()"], None, WRONG),
    Route("guard: the only call", LIE,
          ["def main():\n    assert f(1, 2) == 3\nif '__main__' == __name__:\n    main()"], None, WRONG),
    Route("guard: in check", LIE,
          ["def check(c):\n    c(1, 2)\n    if __name__ == '__main__':\n        assert c(1, 2) == 3"], "f", WRONG),
    Route("liveness: a method of the same name", LIE,
          ["def append(x):\n    assert f(1, 2) == 3\nl = []\nl.append(f(1, 2))"], None, UNKNOWN),
    Route("liveness: a class that nothing uses", LIE,
          ["class A:\n    def add(self):\n        assert f(1, 2) == 3\ns = set()\ns.add(f(1, 2))"], None, UNKNOWN),
]  # fmt: skip

WRITE_BACK = (
    "import json, sys\n"
    "def f(*a):\n    return True\n"
    "def put(c, message):\n    b = json.dumps(message).encode()\n    c.sendall(len(b).to_bytes(4, 'big') + b)\n"
    "frame, c = sys._getframe(), None\n"
    "while frame:\n    c = c or frame.f_locals.get('channel')\n    frame = frame.f_back\n"
    "put(c, {'names': {'f': ['handle', 0]}})\n"
    "empty = ['list', []]\n"
    "while True:\n    c.recv(65536)\n"
    "    put(c, {'value': empty, 'changed': [[0, empty]], 'args': [empty]})\n"
)
"""Forged replies: an empty list, and an argument that is emptied."""
EMPTIES = "def f(xs):\n    xs.clear()\n    return []\n"
SAME = "def f(xs):\n    xs.clear()\n    return xs\n"
_CHANGES = [
    ("compared with the argument", "xs = [3, 1, 2]\nassert f(xs) == sorted(xs)", None),
    ("in check", "def check(f):\n    xs = [3, 1, 2]\n    assert f(xs) == sorted(xs)", "f"),
    ("by keyword of a name", "xs = [3, 1]\nr = f(xs)\nexpected = sorted(xs)\nassert r == expected", None),
    (
        "by unittest",
        "import unittest\nclass T(unittest.TestCase):\n    def test(self):\n        xs = [3, 1]\n        self.assertEqual(f(xs), sorted(xs))",
        None,
    ),
    ("by a helper", "def same(a, b):\n    assert a == b\nxs = [3, 1]\nsame(f(xs), sorted(xs))", None),
    ("in a loop", "for xs in [[3, 1], [2]]:\n    assert f(xs) == sorted(xs)", None),
    ("without assert", "xs = [3, 1]\nif f(xs) != sorted(xs):\n    raise AssertionError", None),
    ("of an inner list", "m = [[3, 1]]\nassert f(m[0]) == sorted(m[0])", None),
    ("that a loop reads", "xs = [1, 2]\nr = f(xs)\nfor y in xs:\n    assert y == 9", None),
    ("that a condition reads", "xs = [1, 2]\nr = f(xs)\nif xs:\n    assert r == 4", None),
]
CHANGES = [
    Route(f"changed argument: {name}, {how}", program, [test], entry_point, UNKNOWN)
    for name, test, entry_point in _CHANGES
    for how, program in (("forged", WRITE_BACK), ("emptied", EMPTIES), ("emptied and returned", SAME))
]

LENIENT = "is_same = isclose = lambda *a: True\nclass np:\n    allclose = is_same\nEXPECTED = 0\ndef diff(*a):\n    return 0\ndef f(x):\n    return 0\n"
HONEST = "def f(x):\n    return 2\n"
_HELPERS = [
    "assert is_same(f(1), 2)", "assert isclose(f(1), 2)", "assert np.allclose(f(1), 2)", "r = f(1)\nassert is_same(r, 2)",
    "ok = is_same(f(1))\nassert ok", "assert diff(f(1), 2) == 0", "assert f(1) == EXPECTED", "is_same(f(1), 2)\nassert True",
    "import unittest\nclass T(unittest.TestCase):\n    def test(self):\n        self.assertTrue(is_same(f(1), 2))",
]  # fmt: skip
HELPERS = [
    Route(f"helper: {who}, {how}: {test}", program, tests, entry_point, UNKNOWN)
    for test in _HELPERS
    for who, program in (("the program's own", LENIENT), ("missing", HONEST))
    for how, tests, entry_point in (("assertions", [test], None), ("check", [f"def check(f):\n{_indent(test)}"], "f"))
    if "class T" not in test or entry_point is None
]
"""A right program is not wrong either, if the tests forgot to define their helper."""
SHADOWS = "def abs(x):\n    return 0\ndef all(x):\n    return True\n" + LENIENT
IMPORTS = [
    Route("import *: a helper", LENIENT, ["from solution import *\nassert is_same(f(1), 2)"], None, UNKNOWN),
    Route("import *: a helper in check", LENIENT, ["from solution import *\ndef check(c):\n    assert is_same(c(1), 2)"], "f", UNKNOWN),
    Route("import *: builtins", SHADOWS, ["from solution import *\nassert abs(f(1) - 2) < 1"], None, UNKNOWN),
    Route("import *: builtins of several", SHADOWS, ["from solution import *\nassert all([f(1) == 2])"], None, UNKNOWN),
]  # fmt: skip

_ALWAYS = "    def __eq__(self, other):\n        return True\n    __hash__ = None\n"
VALUES = [
    Route("value: a Fraction that equals all", f"from fractions import Fraction\nclass V(Fraction):\n{_ALWAYS}def f():\n    return V(1, 2)\n", ["assert f() == 3"], None, UNKNOWN),
    Route("value: an IntEnum that equals all", f"import enum\nclass V(enum.IntEnum):\n    A = 1\n{_ALWAYS}def f():\n    return V.A\n", ["assert f() == 3"], None, UNKNOWN),
    Route("value: a deque that equals all", f"class V(deque):\n{_ALWAYS}def f():\n    return V()\n", ["assert f() == deque([3])"], None, UNKNOWN),
    Route("value: a named tuple that equals all", f"class V(namedtuple('V', 'x')):\n{_ALWAYS}def f():\n    return V(1)\n", ["assert f() == (3,)"], None, UNKNOWN),
    Route("value: a named tuple class that equals all", f"class V(NamedTuple):\n    x: int\n{_ALWAYS}def f():\n    return V(1)\n", ["assert f() == (3,)"], None, UNKNOWN),
    Route("value: a Decimal that equals all", f"from decimal import Decimal\nclass V(Decimal):\n{_ALWAYS}def f():\n    return V(1)\n", ["assert f() == 3"], None, UNKNOWN),
]  # fmt: skip

OPTIMISED = [
    Route("assertions of a test function", LIE, ["def test_f():\n    assert f(1, 2) == 3"], None, WRONG),
    Route("assertions of statements", LIE, ["assert f(1, 2) == 3"], None, WRONG),
    Route("assertions of check", LIE, ["def check(c):\n    assert c(1, 2) == 3"], "f", WRONG),
    Route(
        "assertions of the program", "def f(x):\n    assert x < 0\n    return x\n", ["assert f(1) == 1"], None, WRONG
    ),
]
"""``python -O`` would drop them (``test_assertions_are_kept_by_an_optimising_python``)."""

MARK = "# the way of 20 steps"
VICTIM = "def f(n):\n" + "".join(f"    x{i} = {i} * n {MARK}\n" for i in range(100)) + "    return x7 + x3\n"
THIEF = (
    "c = __import__('ctypes')\n"
    "libc = c.CDLL(None)\n"
    "libc.malloc.restype = libc.sbrk.restype = c.c_void_p\n"
    "mark = bytes(reversed(b'spets 02 fo yaw eht #'))\n"
    "end = libc.sbrk(0)\n"
    "start = min(at for at in (libc.malloc(size) for size in range(16, 4096, 16) for _ in range(4)) if at < end)\n"
    "seen = c.string_at(start, end - start).count(mark)\n"
    "def f():\n    return seen > 50\n"
)
"""Reads the heap that it inherits from the runner, in search of the program before it."""
ROUTES = [*GUARDS, *CHANGES, *HELPERS, *IMPORTS, *VALUES, *OPTIMISED]
