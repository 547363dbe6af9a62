"""Static analysis of programs, and the grades of responses that are not run."""

import os
import sys

import pytest

from fusionrun.api.records import VerdictValue
from fusionrun_stages.grading import coding
from fusionrun_stages.grading.coding import grading


@pytest.mark.parametrize(
    ("program", "detail"),
    [
        ("def f(:", "static: invalid syntax"),
        ("print 1", "static: Missing parentheses"),
        ("def f(a):\n  return a\n return 1", "static: unindent does not match"),
        ("x = 1\0", "static: "),
        ("x" * 70000, "static: 70000 characters"),
        ("(" * 300 + ")" * 300, "static: too many nested parentheses"),
        ("x = " + "-" * 60000 + "1", "static: "),
        ("a" + ".a" * 30000, "static: "),
    ],
)
def test_static_analysis_rejects_a_program(program, detail):
    found = coding.analyse(program)
    assert found is not None
    assert found.verdict is VerdictValue.WRONG
    assert found.detail.startswith(detail)


def test_a_response_that_kills_its_reader_is_unknown_alone(monkeypatch):
    real = grading.extract_program
    monkeypatch.setattr(
        grading, "extract_program", lambda answer, *of: os._exit(3) if answer == "kill" else real(answer, *of)
    )
    submissions = [coding.Submission(answer, ("assert f()",), None) for answer in ("def f(): 1", "kill", "no program")]
    found = dict(grading._read_all(submissions, range(3), 2))
    assert found[0] == "def f(): 1"
    assert found[1] == (VerdictValue.UNKNOWN, "the process that read it died")
    assert found[2] == (VerdictValue.WRONG, "static: there is no program")


def test_static_analysis_accepts_other_programs():
    assert coding.analyse("import os\nfrom collections import *\nfrom subprocess import run\ndef f(): pass") is None
    assert coding.analyse("x = '\\d'\n") is None


NEWER = [
    ((3, 12), "def f[T](a: list[T]) -> T:\n    return a[0]"),
    ((3, 12), "class Pair[A, B]:\n    pass"),
    ((3, 12), "x = 1\ntype Row = list[int]"),
    ((3, 12), "def f(d):\n    return f'{d['k']}'"),
    ((3, 12), "def f(xs):\n    return f\"{'\\n'.join(xs)}\""),
    ((3, 13), "class Box[T = int]:\n    pass"),
    ((3, 14), "def f():\n    try:\n        g()\n    except ValueError, TypeError:\n        return 1"),
    ((3, 14), "x = t'{1}'"),
    ((3, 15), "lazy import json"),
]


@pytest.mark.parametrize(("version", "program"), NEWER)
def test_syntax_of_a_newer_python_is_not_wrong(version, program):
    found = coding.analyse(program)
    if sys.version_info >= version:
        assert found is None
    else:
        assert found is not None
        assert found.verdict is VerdictValue.UNKNOWN
        assert found.detail.startswith("static: it may need Python 3.")


@pytest.mark.parametrize("program", ["def f(a)\n    return a", "type = ", "except ValueError:\n    pass"])
def test_a_syntax_error_in_any_python_is_wrong(program):
    found = coding.analyse(program)
    assert found is not None
    assert found.verdict is VerdictValue.WRONG


@pytest.mark.parametrize(
    ("tests", "entry_point", "names"),
    [
        (["assert f(1) == g(2)"], None, {"f", "g"}),
        (["def check(candidate):\n    assert candidate(1) == max(2, 3)"], "f", {"f"}),
        (["def check(candidate):\n    assert candidate([2]) == 1"], "Solution().order", {"Solution"}),
        (["from solution import f as g\nassert g(1) == 1"], None, {"f"}),
        (["import solution\nassert solution.f(1) == 1"], None, {"f"}),
        (["import math\nfor x in [1]:\n    y = f(x)\n    assert math.isclose(y, x)"], None, {"f"}),
        (["def same(a, b):\n    return a == b", "assert same(f(1), 1)"], None, {"f"}),
        (["def test_f():\n    expected = [n for n in range(3)]\n    assert f(3) == expected"], None, {"f"}),
        (["assert gcd(4, 6) == 2"], None, {"gcd"}),
        (["s = Stack()\ns.push(1)\nassert len(s.items) == 1"], None, {"Stack"}),
        (['{"input": "4", "output": "8", "strict": true, "note": null}'], None, set()),
        (["{'inputs': ['4'], 'outputs': ['8']}"], None, set()),
        (["assert f(1) =="], None, set()),
        ([], None, set()),
    ],
)
def test_the_names_that_tests_need_from_the_program(tests, entry_point, names):
    assert coding.names_of_tests(tuple(tests), entry_point).names == names
