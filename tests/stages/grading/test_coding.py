"""Extraction and static analysis of programs."""

import pytest

from fusionrun.api.records import VerdictValue
from fusionrun_stages.grading import coding

ANSWERS = [
    ("def f(): pass", "def f(): pass"),
    ("Text\n```python\ndef f(): pass\n```\nmore", "def f(): pass\n"),
    ("```python\nx = 1\n```\n```python\ndef f(): pass\n```", "def f(): pass\n"),
    ("```python\ndef f(): pass\n```\nFor example:\n```python\nprint(f())\n```", "def f(): pass\n"),
    ("```bash\nls\n```\n```\ndef f(): pass\n```", "def f(): pass\n"),
    ("```python\ndef f():\n    return 1", "def f():\n    return 1"),
    ("```py\nx = 1\n```", "x = 1\n"),
]


@pytest.mark.parametrize(("answer", "program"), ANSWERS)
def test_the_program_is_extracted_from_the_response(answer, program):
    assert coding.extract_program(answer) == program


@pytest.mark.parametrize(
    ("program", "detail"),
    [
        ("def f(:", "static: invalid syntax"),
        ("import os", "static: it imports os"),
        ("import numpy, os.path as p", "static: it imports os.path"),
        ("def f():\n    from subprocess import run", "static: it imports subprocess"),
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


def test_static_analysis_accepts_other_programs():
    assert coding.analyse("import math, sys\nfrom collections import *\ndef f(): pass") is None
