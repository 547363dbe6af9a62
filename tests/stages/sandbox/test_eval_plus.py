"""EvalPlus in the sandbox: the verdicts of evalplus on invented problems, and the limits of time."""

import json
import sys
from pathlib import Path

import pytest
from oracle.eval_plus_cases import PROBLEMS, PROGRAMS

from fusionrun.api.evaluation_records import Question
from fusionrun_stages.grade import DISTURBED, PROMPT_FAULT
from fusionrun_stages.grading.coding.benchmark import Asked, grade_questions
from fusionrun_stages.grading.eval_plus import grading

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox requires Linux")

VERDICTS = Path(__file__).parents[1] / "grading/eval_plus_verdicts.json"
FORGED = PROGRAMS["sort_pairs"][-1]
"""Its result is equal to everything; here the program does not compare its results itself."""
BY_NAME = {problem["entry_point"]: problem for problem in PROBLEMS}
STEPS = BY_NAME["count_steps"]


def question(problem=STEPS, **changes):
    data = json.dumps(problem | changes)
    return Question(prompt_id="q", dataset="d", task="EvalPlus", prompt="?", prefill="So:\n```python\n", data=data)


def graded(asked, texts, processes=1):
    found = {text: result for _, text, result in grade_questions([Asked(asked, texts)], processes)}
    return [found[text] for text in texts]


def verdicts(results):
    return [[str(grade.verdict) for grade in (result.grade, result.plus)] for result in results]


def test_programs_get_the_verdicts_of_evalplus(runner):
    official = json.loads(VERDICTS.read_text(encoding="utf-8"))["programs"]
    asked = [
        Asked(question(problem), [row[1] for row in official if row[0] == name]) for name, problem in BY_NAME.items()
    ]
    names = list(BY_NAME)
    found = {(names[index], text): result for index, text, result in grade_questions(asked, 2)}
    different = []
    for name, program, *kinds in official:
        base, plus = (kind == "pass" for kind in kinds)
        expected = [base, base and plus] if program != FORGED else [False, False]
        result = found[name, program]
        if [grade.verdict == "right" for grade in (result.grade, result.plus)] != expected:
            different.append((name, program, kinds, result))
    assert different == []
    solutions = [found[name, problem["prompt"] + problem["canonical_solution"]] for name, problem in BY_NAME.items()]
    assert verdicts(solutions) == [["right", "right"]] * len(PROBLEMS)


def test_a_slow_call_is_wrong_and_a_sleeping_one_is_disturbed(runner, monkeypatch):
    monkeypatch.setattr(grading, "CALL_MIN_SECONDS", 0.1)
    monkeypatch.setattr(grading, "REPLY_SECONDS", 1.0)
    slow = "def count_steps(h, step):\n    while True:\n        pass\n    return 0\n"
    asleep = "import time\ndef count_steps(h, step):\n    time.sleep(100)\n    return 0\n"
    caught = slow.replace("pass", "try:\n            h + 1\n        except BaseException:\n            pass")
    results = graded(question(plus_input=[]), [slow, asleep, caught])
    assert [result.grade.detail.partition(":")[0] for result in results] == ["ended", "disturbed", "ended"]
    assert "CPU time" in results[0].grade.detail
    assert results[1].grade.detail.startswith(DISTURBED)
    assert verdicts(results) == [["wrong", "wrong"], ["unknown", "unknown"], ["wrong", "wrong"]]


def test_a_solution_that_fails_makes_the_question_unusable(runner):
    right = STEPS["canonical_solution"]
    program = STEPS["prompt"] + right
    (base,) = graded(question(canonical_solution="    return 1 / 0\n"), [program])
    (plus,) = graded(question(plus_input=[["text", 1]]), [program])
    (none,) = graded(question(entry_point="missing"), [program])
    assert [result.grade.detail.startswith(PROMPT_FAULT) for result in (base, plus, none)] == [True, False, True]
    assert plus.grade.verdict == "right"
    assert plus.plus.detail.startswith(PROMPT_FAULT + "its solution fails: raised: TypeError")


def test_large_inputs_and_numbers_are_sent(runner):
    problem = {
        "task_id": "Mbpp/999",
        "entry_point": "_size",
        "prompt": "",
        "canonical_solution": "def _size(values):\n    return len(values), values[0] + 1\n",
        "base_input": [[[10**5000, *range(10**6)]]],
        "plus_input": [],
        "atol": 0,
    }
    sys.set_int_max_str_digits(0)
    try:
        asked = question(problem)
    finally:
        sys.set_int_max_str_digits(4300)
    wrong = problem["canonical_solution"].replace("+ 1", "+ 2")
    assert verdicts(graded(asked, [problem["canonical_solution"], wrong])) == [["right"] * 2, ["wrong"] * 2]
