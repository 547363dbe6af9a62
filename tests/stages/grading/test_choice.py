"""The letters that responses choose, compared with the verdicts of the official code of MC-Eval."""

import time

import pytest
from oracle.choice import COUNT, read_rows
from oracle.choice_styles import STYLES, choices

from fusionrun.api.evaluation_records import Question
from fusionrun_stages.grading import choice

ROWS = read_rows()


def question(answer, options=10):
    texts = None if options is None else [f"option {n}" for n in range(options)]
    return Question(prompt_id="q", dataset="own", task="Choice", prompt="Which?", answer=answer, options=texts)


def test_there_are_enough_responses_and_they_are_those_that_the_script_makes():
    assert len(ROWS) >= 500
    assert [row[:4] for row in ROWS] == [tuple(one) for one in choices(COUNT)]


@pytest.mark.parametrize("style", STYLES)
def test_letters_and_verdicts_are_those_of_the_official_code(style):
    for row in (row for row in ROWS if row.style == style):
        mark = choice.grade(question(row.gold, row.options), row.text)
        assert choice.extract_letter(row.text) == row.letter, row
        assert (mark.value, mark.parsed) == (float(row.verdict == "right"), row.letter is not None), row
        assert bool(mark.detail) == (mark.value == 0)


def test_the_random_option_is_that_of_python_with_the_seed_of_the_protocol():
    drawn = {options: choice.random_letter(options) for options in (2, 3, 4, 5, 9, 10, 16)}
    assert drawn == {2: "B", 3: "B", 4: "D", 5: "D", 9: "G", 10: "G", 16: "N"}


@pytest.mark.parametrize(
    ("answer", "options", "detail"),
    [
        (None, 4, "its answer '' is not one of the letters A to D"),
        ("E", 4, "its answer 'E' is not one of the letters A to D"),
        ("AB", 4, "its answer 'AB' is not one of the letters A to D"),
        ("2", 4, "its answer '2' is not one of the letters A to D"),
        ("A", 0, "the question has 0 options, the rule is 1 to 16"),
        ("A", None, "the question has 0 options, the rule is 1 to 16"),
        ("A", 17, "the question has 17 options, the rule is 1 to 16"),
    ],
)
def test_a_question_that_cannot_be_graded_has_no_value(answer, options, detail):
    mark = choice.grade(question(answer, options), "The answer is A")
    assert (mark.value, mark.detail) == (None, detail)


@pytest.mark.parametrize("text", ["a" * 200_000, "answer: " * 30_000, "A b " * 50_000, "Answer:" + " " * 200_000])
def test_a_long_response_takes_linear_time(text):
    start = time.process_time()
    choice.extract_letter(text)
    assert time.process_time() - start < 2
