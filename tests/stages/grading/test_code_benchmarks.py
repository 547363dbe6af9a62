"""Questions of benchmarks of code: what is run together, again, alone, and once. No program is run."""

import os
import sys

import pytest

from fusionrun.api.evaluation_records import Question
from fusionrun_stages.errors import InfrastructureError
from fusionrun_stages.grade import DISTURBED, PROMPT_FAULT, disturbed, right, wrong
from fusionrun_stages.grading.coding import benchmark
from fusionrun_stages.grading.coding.benchmark import Asked, Result, grade_questions

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox requires Linux")


def question(task="EvalPlus"):
    return Question(prompt_id="q", dataset="d", task=task, prompt="?")


@pytest.fixture
def grade(monkeypatch):
    """Return a function that grades by a given rule, and the number of checks whether programs run at all."""
    checks = []
    monkeypatch.setattr(benchmark, "check_that_programs_run", lambda: checks.append(1))

    def run(check, *asked):
        monkeypatch.setattr(benchmark, "_find_check", lambda _: lambda __, ___, texts: check(texts))
        found = {(index, text): result for index, text, result in grade_questions(asked, 2)}
        return found, len(checks)

    return run


def test_texts_of_one_question_are_graded_together_for_eval_plus_only(grade):
    def check(texts):
        return [Result(wrong(f"{len(texts)} texts"))] * len(texts)

    found, _ = grade(check, Asked(question(), ["a", "b", "a"]), Asked(question("LiveCodeBench"), ["a", "b", "a"]))
    details = {key: result.grade.detail for key, result in found.items()}
    assert details == {(0, "a"): "2 texts", (0, "b"): "2 texts", (1, "a"): "1 texts", (1, "b"): "1 texts"}


def test_disturbed_programs_are_run_again_alone(grade):
    def check(texts):
        plus = disturbed("late") if len(texts) > 1 else right()
        return [Result(right(), plus if text == "b" else right()) for text in texts]

    assert grade(check, Asked(question(), ["a", "b"])) == (
        {(0, "a"): Result(right(), right()), (0, "b"): Result(right(), right())},
        0,
    )


def test_a_text_that_kills_its_process_is_unknown_and_the_others_are_graded(grade):
    def check(texts):
        if "b" in texts:
            os._exit(1)
        return [Result(right())] * len(texts)

    found, checks = grade(check, Asked(question(), ["a", "b", "c"]))
    assert [found[0, text].grade.detail for text in "abc"] == ["", DISTURBED + "the grader died", ""]
    assert checks == 1


def test_a_broken_sandbox_fails_the_stage(grade):
    def check(_):
        raise InfrastructureError("no runner")

    with pytest.raises(InfrastructureError, match="no runner"):
        grade(check, Asked(question(), ["a"]))


def test_a_task_without_programs_makes_the_question_unusable():
    ((_, _, result),) = grade_questions([Asked(question("Choice"), ["a"])], 1)
    assert result.grade.detail == PROMPT_FAULT + "its task is Choice: no program answers it"
