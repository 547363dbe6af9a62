"""LiveCodeBench without the sandbox: the official verdicts on invented cases (hack/oracle/live_code_bench.py)."""

import json
from pathlib import Path

import pytest

from fusionrun_stages.grading.live_code_bench.extraction import extract_code, read_program
from fusionrun_stages.grading.live_code_bench.outputs import is_same_output, is_same_result, restore_keys
from fusionrun_stages.grading.live_code_bench.problem import Case, read_problem
from fusionrun_stages.grading.live_code_bench.program import build_imports, build_script

OFFICIAL = json.loads((Path(__file__).parent / "live_code_bench_verdicts.json").read_text(encoding="utf-8"))
"""The last two columns: the verdicts of FuseEval's version, and of nvidia-livecodebench 26.3."""


def same_result(literal, expected):
    try:
        return is_same_result(eval(literal), restore_keys(json.loads(expected)))
    except (TypeError, ValueError):
        return False


@pytest.mark.parametrize(
    ("kind", "judge"), [("responses", extract_code), ("outputs", is_same_output), ("results", same_result)]
)
def test_the_rules_are_those_of_fuse_eval(kind, judge):
    rows = OFFICIAL[kind]
    assert [row for row in rows if judge(*row[:-2]) != row[-2]] == []
    assert len(rows) >= 100


def test_a_completion_begins_with_the_partial_solution():
    response = "So:\n```python\n    return 1\n```\nOr:\n```\n    return 2\n```"
    assert read_program(response, "def f():") == "def f():\n    return 1"
    assert read_program(response, "") == "    return 1"
    assert read_program("```python\nprint(1)") == ""


@pytest.mark.parametrize(
    ("program", "script"),
    [
        ("import os\nfrom re import *\nx = 1\nimport sys", "import os\nfrom re import *\n{}\tx = 1\n\timport sys\n"),
        ('def main():\n    pass\nif __name__ == "__main__":\n    main()', "{}\tdef main():\n\t    pass\n\tmain()\n"),
        ("import os", "import os\n"),
    ],
)  # fmt: skip
def test_a_program_that_reads_an_input_is_a_function(program, script):
    head = "stdin = sys.stdin\nstdout = sys.stdout\ndef code():\n"
    assert build_script(program) == build_imports() + script.format(head)


def test_tests_are_texts_for_programs_and_values_for_functions():
    tests = [{"input": '[1]\n{"a": 2}', "output": "3", "testtype": "functional"}]
    assert read_problem(json.dumps({"fn_name": "f", "tests": tests})).tests == [Case([[1], {"a": 2}], 3)]
    assert read_problem(json.dumps({"fn_name": None, "tests": tests})).tests == [Case('[1]\n{"a": 2}', "3")]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({}, "it has no tests"),
        ({"tests": []}, "it has no tests"),
        ({"tests": [{"input": "1"}]}, "the input and the output of a test are not texts"),
        ({"tests": [{"input": "1", "output": "1"}], "fn_name": 3}, "its fn_name is 3, not a text"),
        ({"tests": [{"input": "one", "output": "1"}], "fn_name": "f"}, "Expecting value"),
    ],
)
def test_data_that_cannot_be_used_says_why(data, reason):
    with pytest.raises(ValueError, match=reason):
        read_problem(json.dumps(data))
