"""Mathematics with math-verify: verdicts, notations of gold answers, limits."""

import pytest

math_verify = pytest.importorskip("math_verify")

from hypothesis import given, settings
from hypothesis import strategies as st
from math_verify import parser
from sympy import srepr

from fusionrun.api.records import VerdictValue
from fusionrun_stages.grade import PROMPT_FAULT
from fusionrun_stages.grading import mathematics
from fusionrun_stages.grading.mathematics import Problem, grade_all, parse_gold

RIGHT, WRONG, UNKNOWN = VerdictValue.RIGHT, VerdictValue.WRONG, VerdictValue.UNKNOWN


def grade(gold, *answers):
    ((_, grades),) = grade_all([Problem(gold, list(answers))], processes=1)
    return [found.verdict for found in grades]


@pytest.mark.parametrize(
    ("gold", "answer", "verdict"),
    [
        ("42", r"So \boxed{42}", RIGHT),
        ("42", "The answer is 42.", RIGHT),
        ("42", r"First I had \boxed{41}. That is wrong. It is \boxed{42}.", RIGHT),
        ("42", r"\boxed{43}", WRONG),
        ("42", "I do not know.", WRONG),
        ("42", "", WRONG),
        ("1,234", r"\boxed{1234}", RIGHT),
        ("Janet sells 9 eggs.\n#### 18", r"\boxed{18}", RIGHT),
        (r"\frac{1}{2}", r"\boxed{0.5}", RIGHT),
        (r"\frac{1}{2}", r"\boxed{1/2}", RIGHT),
        (r"\sqrt{2}", r"$\frac{2}{\sqrt{2}}$", RIGHT),
        ("(1,2)", r"\boxed{(1,2)}", RIGHT),
        ("(1,2)", r"\boxed{(2,1)}", WRONG),
        ("x^2+2x+1", r"\boxed{(x+1)^2}", RIGHT),
        ("[1,2)", r"\boxed{[1,2)}", RIGHT),
        ("[1,2)", r"\boxed{[1,2]}", WRONG),
        (r"90^\circ", r"\boxed{90}", RIGHT),
        ("5 cm", r"\boxed{5}", RIGHT),
        (r"\{1,2\}", r"\boxed{2, 1}", RIGHT),
    ],
)
def test_the_final_answer_is_compared_with_the_gold_answer(gold, answer, verdict):
    assert grade(gold, answer) == [verdict]


@pytest.mark.parametrize("gold", [r"\sqrt{2}", "(1,2)", "x^2+2x+1"])
def test_latex_without_dollar_signs_is_parsed(gold):
    assert parse_gold(gold)


@pytest.mark.parametrize("gold", [None, "", "  ", "x+", r"\frac{1}{"])
def test_an_unparsable_gold_answer_makes_the_prompt_unusable(gold):
    ((_, grades),) = grade_all([Problem(gold, [r"\boxed{1}", "2"])], processes=1)
    assert {g.verdict for g in grades} == {UNKNOWN}
    assert all(g.detail.startswith(PROMPT_FAULT) for g in grades)


def test_the_gold_answer_is_parsed_once_per_prompt(monkeypatch):
    calls = []
    monkeypatch.setattr(mathematics, "parse_gold", lambda gold: calls.append(gold) or parse_gold(gold))
    assert len(mathematics.grade_problem(Problem("4", [r"\boxed{4}"] * 5))) == 5
    assert calls == ["4"]


def test_a_response_over_the_time_limit_is_unknown_and_does_not_affect_others(monkeypatch):
    monkeypatch.setattr(mathematics, "CPU_SECONDS", 1.0)
    monkeypatch.setattr(mathematics, "GRACE_SECONDS", 1)
    power_tower = r"\boxed{9^{9^{9^{9}}}}"  # in C code, so the kernel kills the process
    problems = [Problem("4", [r"\boxed{4}", power_tower, r"\boxed{5}"]), Problem("5", [r"\boxed{5}"])]
    grades = dict(grade_all(problems, processes=2))
    assert [g.verdict for g in grades[0]] == [RIGHT, UNKNOWN, WRONG]
    assert [g.verdict for g in grades[1]] == [RIGHT]


@pytest.mark.parametrize(
    "answer",
    [
        r"Ones: 4+5=9. Tens: 1+2+0=3. So \boxed{42}",
        r"So \boxed{-42}.",
        r"\boxed{42} cm",
        r"\boxed{42}%",
        r"\boxed{42} and 7 apples",
        r"The answer is 7. \boxed{42}",
        r"The answer is \boxed{42}, not 7",
        r"\boxed{0}",
        r"\boxed{042}",
        r"\boxed{42} or {x}",
        r"\boxed{41}, \boxed{42}",
        r"The final answer is 7. I hope it is correct. \boxed{42}",
        r"$x = \boxed{42}$",
        r"\boxed{42} = $7$",
        r"\boxed{42.0}",
        r"\boxed{4{2}}",
    ],
)
@pytest.mark.parametrize("gold", ["42", "-42", "7", "0", "x", "42.0"])
def test_the_shortcut_for_integers_agrees_with_math_verify(monkeypatch, gold, answer):
    short = mathematics.grade_problem(Problem(gold, [answer]))
    monkeypatch.setattr(mathematics, "read_integer", lambda _: None)
    assert short[0].verdict is mathematics.grade_problem(Problem(gold, [answer]))[0].verdict


GOLDS = ["42", r"\frac{6}{4}", "1.5", r"2\sqrt{3}", "x^2+2x+1", "[1,2)", r"\{1,2\}", "y = 3x + 1"]
ANSWERS = [
    *GOLDS, "-42", "042", "42.0", "1,234", "7", r"\frac{3}{2}", r"-\frac{6}{4}", "3/2", "-3/2", "1.50", r"150\%",
    r"\sqrt{12}", "(x+1)^2", "2, 1", "(2,1)", r"\left[1,2\right)", "y = 1 + 3x", "x = 42", r"42 \text{ cm}", "",
    "no number", r"\frac{1}{",
]  # fmt: skip
TEXTS = [r"We get $3 + 4 = 7$. So $\boxed{%s}$.", "It is 9. The answer is %s."]


@pytest.mark.parametrize("gold", GOLDS)
def test_verdicts_equal_those_of_math_verify(gold):
    answers = [text % answer for text in TEXTS for answer in ANSWERS]
    ((_, found),) = grade_all([Problem(gold, answers)], processes=1)  # in a separate process, with its caches
    gold_value = parse_gold(gold)
    for answer, one in zip(answers, found, strict=True):
        value = math_verify.parse(answer, parsing_timeout=None)
        right = bool(value) and math_verify.verify(gold_value, value, timeout_seconds=None)
        assert (one.verdict is RIGHT) is right, answer


NUMBERS = st.one_of(
    st.from_regex(r"-?[0-9]{1,15}", fullmatch=True),
    st.from_regex(r"-?[0-9]{1,9}\.[0-9]{1,6}", fullmatch=True),
    st.from_regex(r"-?[0-9]{1,6}/[1-9][0-9]{0,5}", fullmatch=True),
    st.from_regex(r"-?\\frac\{[0-9]{1,6}\}\{[1-9][0-9]{0,5}\}", fullmatch=True),
)


@settings(deadline=None, max_examples=100)
@given(NUMBERS.filter(str.isascii))
def test_numbers_are_parsed_as_by_math_verify(text):
    number = mathematics.read_number(text)
    assert number is not None
    assert srepr(number) == srepr(parser.parse_latex_cached.__wrapped__(text))
