"""The grader with the rules of the Qwen2.5-Math harness, compared with the verdicts of the official code."""

import json
import random

import pytest
from oracle.qwen_mathematics import NUMBER_WORDS, read_rows
from oracle.qwen_responses import answered
from oracle.reasons import read_rows as read_pairs

from fusionrun.api.evaluation_records import Question
from fusionrun_stages.grading import qwen_mathematics
from fusionrun_stages.grading.qwen_mathematics import pool
from fusionrun_stages.grading.qwen_mathematics.comparison import is_equal
from fusionrun_stages.grading.qwen_mathematics.extraction import extract, final_answer
from fusionrun_stages.grading.qwen_mathematics.normal_form import normal_form
from fusionrun_stages.grading.qwen_mathematics.number_words import words_to_number
from fusionrun_stages.grading.qwen_mathematics.python_expression import parse_expression

ROWS = read_rows()


def question(answer):
    return Question(prompt_id="q", dataset="own", task="QwenMathematics", prompt="How many?", answer=answer)


def grade(*pairs):
    found = dict(qwen_mathematics.grade_all([(question(gold), text) for gold, text in pairs], processes=1))
    return [found[n] for n in range(len(pairs))]


def test_the_committed_responses_are_those_that_the_script_makes():
    assert [row[:3] for row in ROWS] == [tuple(one) for one in answered()]


@pytest.mark.parametrize("kind", sorted({row.kind for row in ROWS}))
def test_answers_and_verdicts_are_those_of_the_official_code(kind):
    rows = [row for row in ROWS if row.kind == kind]
    for row in rows:
        assert final_answer(row.response, normal_form(row.gold)) == row.answer, row
        assert is_equal(row.answer, normal_form(row.gold)) == (row.verdict == "right"), row


@pytest.mark.parametrize("kind", sorted({row.kind for row in read_pairs()}))
def test_verdicts_on_the_pairs_of_all_graders_are_those_of_the_official_code(kind):
    # These were made with the functions of the harness, which rewrite an answer once; the harness does so twice.
    for row in (row for row in read_pairs() if row.kind == kind):
        said = extract(f"So the answer is $\\boxed{{{row.answer}}}$.")
        gold = normal_form(row.gold.rsplit("####", 1)[-1].strip())
        assert is_equal(said, gold) == (row.qwen == "right"), row


def test_numbers_in_words_are_those_of_word2number():
    for line in NUMBER_WORDS.read_text(encoding="utf-8").splitlines():
        text, number = json.loads(line)
        assert words_to_number(text) == number, text


def test_responses_are_graded_in_processes_with_a_reason():
    right, wrong, absent, unusable = grade(
        ("18", "It is \\boxed{18}."), ("18", "It is \\boxed{17}."), ("18", "No idea."), (None, "\\boxed{18}")
    )
    assert (right.value, right.parsed, right.detail) == (1, True, "")
    assert (wrong.value, wrong.parsed, wrong.detail) == (0, True, "it answers '17'")
    assert (absent.value, absent.parsed, absent.detail) == (0, False, "no final answer")
    assert (unusable.value, unusable.detail) == (None, "the question has no gold answer")


def test_an_answer_that_hangs_or_needs_too_much_memory_is_wrong_and_no_other(monkeypatch):
    monkeypatch.setattr(pool, "CPU_SECONDS", 0.5)
    tower = "9^{9^{9^{9^{9}}}}"
    digits = "7" * 5000
    marks = grade(
        ("2x", f"\\boxed{{{tower}-x}}"), ("2x", "\\boxed{10**10**10+x}"), ("2x", "\\boxed{x+x}"), (digits, digits)
    )
    assert [mark.value for mark in marks] == [0, 0, 1, 1]


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('false')",
        "().__class__.__bases__",
        "(lambda: 1)()",
        "[x for x in (1,)]",
        "open('/etc/passwd')",
        "x.subs",
        "sympify('1')",
        "f'{1}'",
        "1 if 1 else 2",
        "(y := 3)",
    ],
)
def test_code_in_a_response_is_not_run(text):
    with pytest.raises(Exception, match=r"not allowed in a formula|invalid syntax|EOF|unterminated|not callable"):
        parse_expression(text)


def test_names_in_a_formula_reach_only_mathematics():
    for name in ("open", "eval", "exec", "print", "builtins", "lambdify", "preview", "sympify", "S", "parse_expr"):
        assert type(parse_expression(name)).__name__ == "Symbol"
    assert str(parse_expression("2*x**2+sqrt(16)+sin(pi)+3!")) == "2*x**2 + 10"


def test_text_without_sense_is_graded_without_an_error():
    chance = random.Random(5)
    pieces = [
        "\\frac",
        "{",
        "}",
        "\\sqrt",
        "^",
        "_",
        "x",
        "1",
        "=",
        ",",
        "(",
        ")",
        "[",
        "]",
        "\\\\",
        "&",
        "\\begin{pmatrix}",
    ]
    texts = ["".join(chance.choices(pieces, k=chance.randint(1, 12))) for _ in range(60)]
    assert {mark.value for mark in grade(*[("x+1", f"\\boxed{{{text}}}") for text in texts])} <= {0.0, 1.0}
