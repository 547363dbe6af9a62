"""EvalPlus without the sandbox: the verdicts of evalplus on invented texts and outputs (hack/oracle/eval_plus.py)."""

import json
from pathlib import Path

import pytest

from fusionrun_stages.grading.eval_plus import completion, sanitize
from fusionrun_stages.grading.eval_plus.inputs import restore
from fusionrun_stages.grading.eval_plus.outputs import Comparison
from fusionrun_stages.grading.eval_plus.problem import read_problem

OFFICIAL = json.loads((Path(__file__).parent / "eval_plus_verdicts.json").read_text(encoding="utf-8"))
NAMES = {"inf": float("inf"), "nan": float("nan")}


def test_texts_are_sanitized_as_evalplus_does():
    made = [(text, sanitize.sanitize(text, "target"), official) for text, official in OFFICIAL["sanitized"]]
    assert [row for row in made if row[1] != row[2]] == []
    assert len(made) >= 250


def passes(task_id, name, tolerance, arguments, output, expected):
    comparison = Comparison(task_id, name, tolerance)
    values = (eval(literal, dict(NAMES)) for literal in (output, expected, arguments))
    try:
        return all(comparison.is_right(*value, tuple(given)) for *value, given in zip(*values, strict=True))
    except Exception:  # noqa: BLE001 (any value may be compared)
        return False


def test_outputs_are_compared_as_evalplus_does():
    different = [row for row in OFFICIAL["outputs"] if passes(*row[:-1]) != (row[-1] == "pass")]
    # evalplus 0.3.1 fails every right root (a comment on its pull request 201); here they pass.
    assert {(row[0], row[1], row[-1]) for row in different} == {("HumanEval/32", "find_zero", "fail")}
    assert sum(row[-1] == "pass" for row in OFFICIAL["outputs"]) > 100


def test_a_text_without_code_is_tried_a_limited_number_of_times(monkeypatch):
    tried = []
    monkeypatch.setattr(sanitize, "PARSES_MAX", 50)
    monkeypatch.setattr(sanitize, "parse", tried.append)
    assert sanitize.sanitize("no code here\n" * 100, "target") == "no code here"
    assert len(tried) <= 52


@pytest.mark.parametrize(
    ("prefill", "text", "program"),
    [
        ("Below:\n```python\n", "def f():\n\treturn 1\n```\nIt works:\n```\nf()\n```", "def f():\n    return 1"),
        ("Below:\n```python\n", "def f():\n    return 1\n", "def f():\n    return 1"),
        (None, "So:\n```python\nimport os\ndef f():\n    return g()\ndef g():\n    return 1\ndef h():\n    return 2\n",
         "import os\ndef f():\n    return g()\ndef g():\n    return 1"),
    ],
)  # fmt: skip
def test_the_program_of_a_response(prefill, text, program):
    assert completion.read_program(prefill, text, "f") == program


@pytest.mark.parametrize(
    ("task_id", "given", "arguments"),
    [
        ("Mbpp/2", [[1, 2], [3]], ((1, 2), (3,))),
        ("Mbpp/63", [[[1, 2], [3]]], ([(1, 2), (3,)],)),
        ("Mbpp/75", [[[1, 2]], 4], ([(1, 2)], 4)),
        ("Mbpp/106", [[1], [2]], ([1], (2,))),
        ("Mbpp/115", [[[1, 1], []]], ([{1}, {}],)),
        ("Mbpp/124", ["1", "2+1j"], (1.0, 2 + 1j)),
        ("Mbpp/250", [[1, [2]], 3], ((1, [2]), 3)),
        ("Mbpp/252", ["3j"], (3j,)),
        ("Mbpp/259", [[[1], [2]]], (((1,), (2,)),)),
        ("Mbpp/278", [[[1], 2]], (((1,), 2),)),
        ("Mbpp/307", [[1], [2], 3], ((1,), [2], 3)),
        ("Mbpp/722", [{"a": [1]}, 2], ({"a": (1,)}, 2)),
        ("Mbpp/580", [[1, [2, [3]]]], ((1, (2, (3,))),)),
        ("Mbpp/3", [[1], [2]], ([1], [2])),
        ("HumanEval/2", [[1], [2]], ([1], [2])),
    ],
)
def test_inputs_have_the_types_of_their_task(task_id, given, arguments):
    restored = restore(task_id, [given])
    assert restored == [arguments]
    assert repr(restored) == repr([arguments])
    assert restore(task_id, {}) == []


ROW = {
    "task_id": "Mbpp/2",
    "entry_point": "f",
    "prompt": "",
    "canonical_solution": "",
    "base_input": [],
    "plus_input": [],
}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"entry_point": 3}, "its field entry_point is not a text"),
        ({"base_input": [3]}, "the inputs are not lists of arguments"),
        ({"base_input": [[3]]}, "the inputs do not have the form of Mbpp/2"),
        ({"atol": "small"}, "its atol is 'small', not a number"),
    ],
)
def test_a_row_that_cannot_be_used_says_why(change, reason):
    with pytest.raises(ValueError, match=reason):
        read_problem(json.dumps(ROW | change))
