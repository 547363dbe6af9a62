"""The tests at the end of a prompt: a sentence, and one block of Python."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionrun.api.tasks.parameters import DatasetParameters
from fusionrun_stages.errors import UserError
from fusionrun_stages.prompts.contamination import BenchmarkIndex
from fusionrun_stages.prompts.dataset_rows import DatasetReader, open_dataset
from fusionrun_stages.prompts.selection import PromptSelection
from fusionrun_stages.prompts.tests_in_prompts import find_tests
from support.datasets import read_dataset

TASK = "Write a Python function `twice` that doubles a number. Do not use multiplication."
ONE = "assert twice(2) == 4"
CASE = "values = [1, 2]\nfor value in values:\n    assert twice(value) == 2 * value"


def instruction(tests, noun, task=TASK):
    """Return an instruction as the authors of self-oss-instruct write it (``sanitize_data.py``, mode SMART)."""
    return f"{task}\n\nYour code should pass the following {noun}:\n```python\n{tests}\n```"


@pytest.mark.parametrize(
    ("prompt", "tests"),
    [
        (instruction(ONE, "assertion"), ONE),
        (instruction(f"{ONE}\nassert twice(0) == 0", "assertions"), f"{ONE}\nassert twice(0) == 0"),
        (instruction(CASE, "test case"), CASE),
        (instruction(ONE, "assertion").replace("\n", "\r\n"), ONE),
        (instruction(ONE, "assertion") + "\n\n", ONE),
        (instruction(ONE, "assertion", "Given:\n```python\nx = 1\n```\ndouble it, and test it."), ONE),
        (TASK, None),
        (f"{TASK}\n\nTest it:\n```python\n{ONE}\n```", None),
        (f"{TASK}\n\nYour code should pass the following assertion:\n{ONE}", None),
        (instruction(ONE, "assertion") + "\nThank you.", None),
        (instruction(ONE, "assertion") + "\n```python\nassert twice(1) == 2\n```", None),
        (instruction(ONE, "assertion", instruction(ONE, "assertion")), None),
        (instruction(ONE, "assertion", "It says: Your code should pass the following assertion:"), ONE),
        (instruction("print(twice(2))", "test case"), None),
        (instruction("# assert twice(2) == 4", "test case"), None),
        (instruction("assert twice(2) ==", "assertion"), None),
        (instruction(ONE, "tests"), None),
    ],
)
def test_the_block_after_the_sentence_is_the_tests(prompt, tests):
    assert find_tests(prompt) == ([tests] if tests else None)


@given(st.text())
def test_any_text_is_read(text):
    find_tests(text)
    find_tests(instruction(text, "test case"))


def test_rows_without_tests_are_counted_by_their_own_reason(tmp_path):
    rows = [{"prompt": instruction(ONE, "assertion")}, {"prompt": TASK}, {"prompt": ""}, {"prompt": f"{TASK} Please."}]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found, counts = read_dataset(tmp_path / "x.jsonl", task="Coding", tests_from="Prompt")
    assert [(row.text, row.tests) for row in found] == [(rows[0]["prompt"], [ONE])]
    assert (counts.no_tests, counts.bad_rows) == (2, 1)


def test_a_data_set_without_any_tests_is_refused(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"prompt": "Add."}\n{"prompt": "Subtract."}\n')
    dataset = DatasetParameters(name="a", task="Coding", columns={}, uri=str(tmp_path / "x.jsonl"), tests_from="Prompt")
    reader = DatasetReader({"a": open_dataset(dataset, "datasets")})
    selection = PromptSelection(reader, BenchmarkIndex(), 1, lambda _: None)
    with pytest.raises(UserError, match=r"no usable row among 2; 2 prompts have no tests \(testsFrom: Prompt\)"):
        selection.add(dataset)
