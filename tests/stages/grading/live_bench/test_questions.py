"""Rows that are wrong, and limits."""

import json

import pytest

from fusionrun.api.evaluation_records import Question
from fusionrun_stages.errors import UserError
from fusionrun_stages.grading.live_bench import grade, grade_all
from fusionrun_stages.grading.mathematics import limits


def question(group, row, prompt="x"):
    data = row if isinstance(row, str) else json.dumps(row)
    return Question(prompt_id="ab", dataset="live-bench", task="LiveBench", prompt=prompt, group=group, data=data)


@pytest.mark.parametrize(
    ("group", "row", "message"),
    [
        ("reasoning/zebra_puzzle_v3", {"ground_truth": "x"}, "no grader for task 'zebra_puzzle_v3'"),
        ("math/math_comp", {"ground_truth": "A", "subtask": "putnam"}, "no grader for task 'putnam'"),
        ("coding/LCB_generation", {}, "no grader for task 'LCB_generation'"),
        ("reasoning", {"ground_truth": "x"}, "group is 'reasoning', not category/task"),
        ("reasoning/spatial", "[1]", "not a JSON object"),
        ("reasoning/spatial", "{", "not a JSON object"),
    ],
)
def test_a_question_of_another_form_is_an_error_of_the_user(group, row, message):
    asked = question(group, row)
    with pytest.raises(UserError, match="question ab: ") as raised:
        grade(asked, "**x**")
    assert message in str(raised.value)
    with pytest.raises(UserError):
        list(grade_all([(asked, "**x**")]))


def instruction(name, **arguments):
    return {"instruction_id_list": [name], "kwargs": [arguments]}


@pytest.mark.parametrize(
    ("group", "row", "reason"),
    [
        ("reasoning/spatial", {}, "its ground_truth is None"),
        ("math/math_comp", {"subtask": "amc_12a_2023", "ground_truth": "F"}, "not a letter from A to E"),
        ("math/olympiad", {"subtask": "imo", "ground_truth": "1, b"}, "not a list of integers"),
        ("data_analysis/tablejoin", {"ground_truth": "a, b"}, "not a dictionary"),
        ("data_analysis/tablereformat", {"ground_truth": "a,b"}, "format of the table is ''"),
        ("language/plot_unscrambling", {"ground_truth": "..."}, "no sentence"),
        ("instruction_following/simplify", {"instruction_id_list": []}, "its instruction_id_list is []"),
        ("instruction_following/simplify", instruction("keywords:rhyme"), "'keywords:rhyme'"),
        ("instruction_following/simplify", instruction("keywords:existence"), "keywords is None"),
        ("instruction_following/simplify", instruction("keywords:existence", keywords=["a("]), "no regular expression"),
        (
            "instruction_following/simplify",
            instruction("length_constraints:number_words", num_words=3, relation="about"),
            "relation is 'about'",
        ),
        ("instruction_following/simplify", {"instruction_id_list": ["x", "y"], "kwargs": [{}]}, "arguments for 1"),
    ],
)
def test_a_row_without_a_usable_reference_has_no_mark(group, row, reason):
    mark = grade(question(group, row), "**x**")
    assert mark.value is None
    assert reason in mark.detail


def test_arguments_may_be_whole_numbers_as_floats():
    row = instruction("length_constraints:number_words", num_words=2.0, relation="less than", keywords=None)
    assert grade(question("instruction_following/simplify", row), "one").value == 1.0


def test_the_first_turn_of_the_row_goes_before_the_prompt():
    row = {"subtask": "smc", "ground_truth": "B", "turns": [r"$\textbf{(A)} 3\qquad\textbf{(B)} 5$"]}
    assert grade(question("math/math_comp", row), "It is 5").value == 1.0


@pytest.mark.parametrize(
    ("group", "truth", "response", "parsed"),
    [
        ("math/AMPS_Hard", "3", "3", False),
        ("math/AMPS_Hard", "3", r"\boxed{4}", True),
        ("reasoning/spatial", "3", "three", False),
        ("reasoning/spatial", "3", "**4**", True),
        ("language/connections", "a, b", "a, b", False),
        ("data_analysis/tablejoin", "{'a': 'b'}", "a and b", False),
        ("data_analysis/cta", "url", "!", False),
    ],
)
def test_a_response_without_an_answer_is_told_from_a_wrong_one(group, truth, response, parsed):
    row = {"ground_truth": truth} | ({"subtask": "amps_hard_gcd"} if "AMPS" in group else {})
    mark = grade(question(group, row), response)
    assert (mark.value, mark.parsed) == (0.0, parsed)
    assert mark.detail


def test_a_response_that_needs_too_long_is_wrong_and_the_others_are_graded(monkeypatch):
    monkeypatch.setattr(limits, "CPU_SECONDS", 1.0)
    asked = question("math/AMPS_Hard", {"ground_truth": "3", "subtask": "amps_hard_gcd"})
    responses = [r"\boxed{3}", r"\boxed{9^{9^{9^{9}}} + (x+1)^{9999}(y+x)^{9999}}", r"\boxed{6/2}"]
    marks = dict(grade_all([(asked, response) for response in responses], processes=1))
    assert [marks[index].value for index in range(3)] == [1.0, 0.0, 1.0]
    assert "used up" in marks[1].detail
