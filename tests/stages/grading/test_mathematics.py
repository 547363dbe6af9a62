"""Mathematics: verdicts on a table of cases, properties, limits."""

import csv
import random
import re
import time
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fusionrun.api.records import VerdictValue
from fusionrun_stages.grade import PROMPT_FAULT, Grade
from fusionrun_stages.grading.mathematics import Problem, grade_all, grade_problem, limits, problem

RIGHT, WRONG, UNKNOWN = VerdictValue.RIGHT, VerdictValue.WRONG, VerdictValue.UNKNOWN
CASES = Path(__file__).with_name("mathematics_cases.tsv")


def grade(gold, answer):
    return grade_problem(Problem(gold, [answer]))[0]


def box(content):
    return f"So the answer is \\boxed{{{content}}}."


def read_cases():
    with CASES.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            gold, answer = row["gold"].replace("⏎", "\n"), row["answer"].replace("⏎", "\n")
            yield pytest.param(gold, box(answer) if row["form"] == "box" else answer, row["verdict"], id=row["kind"])


@pytest.mark.parametrize(("gold", "answer", "verdict"), list(read_cases()))
def test_the_final_answer_is_compared_with_the_gold_answer(gold, answer, verdict):
    found = grade(gold, answer)
    assert found.verdict.value == verdict, found.detail


@pytest.mark.parametrize(
    "gold", [None, "", "  ", "nan", "NaN", "null", "<NA>", "x+", r"\frac{1}{", "1/2x", "9" * 5000, "x^2^3", "2 + 3 = 6"]
)
def test_a_gold_answer_that_no_rule_reads_makes_the_prompt_unusable(gold):
    grades = grade_problem(Problem(gold, [r"\boxed{1}", "2"]))
    assert {found.verdict for found in grades} == {UNKNOWN}
    assert all(found.detail.startswith(PROMPT_FAULT) for found in grades)


def test_the_gold_answer_is_read_once_per_prompt(monkeypatch):
    calls = []
    real = problem.read_gold
    monkeypatch.setattr(problem, "read_gold", lambda gold: calls.append(gold) or real(gold))
    assert len(grade_problem(Problem("4", [rf"\boxed{{{n}}}" for n in range(5)]))) == 5
    assert calls == ["4"]


def test_only_the_end_of_a_long_response_is_read():
    assert grade("42", "x " * 10**6 + r"\boxed{42}").verdict is RIGHT


# Properties ---------------------------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [r"\frac", r"\sqrt", r"\boxed", r"\text", r"\pm", r"\cup", r"\ldots", r"\overline", r"\begin{pmatrix}",
     r"\end{pmatrix}", r"\left(", r"\right]", r"\{", r"\}", r"\infty", r"\le", r"\log", r"\sin", r"\mid", r"\\",
     *"{}()[]$=<>!^_/|:;,.% -", "$$", "<think>", "</think>", "####", "answer is", "and", "or", "i", "e", "x", "1", "23",
     "0.5", "10", "cm", "Yes", "C", "h", "min", "no solution", "½", "π", "元"]
)  # fmt: skip
TEXTS = st.one_of(
    st.text(max_size=60), st.lists(PIECES, max_size=12).map("".join), st.lists(PIECES, max_size=8).map(" ".join)
)


@settings(deadline=None, max_examples=400)
@given(TEXTS, TEXTS)
def test_any_text_gives_a_grade(gold, answer):
    for found in grade_problem(Problem(gold, [answer, box(answer), f"The answer is {answer}", box(gold)])):
        assert isinstance(found, Grade)
        assert isinstance(found.detail, str)


@settings(deadline=None, max_examples=400)
@given(TEXTS)
def test_a_usable_gold_answer_is_right_against_itself(gold):
    assume("####" not in gold)
    found = grade(gold, rf"\boxed{{{gold}}}")
    assert found.verdict is RIGHT or found.detail.startswith(PROMPT_FAULT)


RATIONALS = st.fractions(min_value=-(10**6), max_value=10**6, max_denominator=10**4)


def forms(value):
    """Return notations of one number."""
    top, bottom = abs(value.numerator), value.denominator
    sign = "-" if value < 0 else ""
    found = [
        f"{sign}\\frac{{{top}}}{{{bottom}}}",
        f"{sign}{top}/{bottom}",
        f"\\dfrac{{{2 * value.numerator}}}{{{2 * bottom}}}",
        f"x = {sign}\\frac{{{top}}}{{{bottom}}}",
        f"{sign}{top} \\div {bottom}",
    ]
    if bottom == 1:
        grouped = f"{value.numerator:,}"
        found += [str(value), f"{value}.0", grouped, f"\\text{{{value}}}", grouped.replace(",", "\\,")]
    elif top > bottom and top % bottom:
        found.append(f"{sign}{top // bottom}\\frac{{{top % bottom}}}{{{bottom}}}")
        found.append(f"{sign}{top // bottom} {top % bottom}/{bottom}")
    if 10**4 % bottom == 0:
        found += [f"{sign}{top * 10**4 // bottom}e-4", f"{sign}{top * 10**4 // bottom} \\times 10^{{-4}}"]
    return found


@settings(deadline=None, max_examples=200)
@given(RATIONALS, st.randoms(use_true_random=False))
def test_equal_numbers_in_other_forms_are_right(value, chance):
    gold, answer = chance.choices(forms(value), k=2)
    assert grade(gold, box(answer)).verdict is RIGHT, (gold, answer)


@settings(deadline=None, max_examples=200)
@given(RATIONALS, RATIONALS, st.randoms(use_true_random=False))
def test_numbers_that_differ_are_never_right(one, other, chance):
    assume(one != other)
    gold, answer = chance.choice(forms(one)), chance.choice(forms(other))
    assert grade(gold, box(answer)).verdict is not RIGHT, (gold, answer)


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 10**6), st.integers(-300, 300), st.integers(1, 9), st.integers(1, 9))
def test_numbers_of_any_size_are_compared_by_their_relative_difference(a, exponent, first, second):
    gold, answer = f"{a}.{first}e{exponent}", f"{a}.{second} \\times 10^{{{exponent}}}"
    verdict = grade(gold, box(answer)).verdict
    assert (verdict is RIGHT) is (Fraction(first) == Fraction(second))


# Limits -------------------------------------------------------------------------------------------------------------


def test_a_response_that_kills_its_process_is_unknown_and_does_not_affect_others(monkeypatch):
    monkeypatch.setattr(limits, "CPU_SECONDS", 0.5)
    monkeypatch.setattr(limits, "GRACE_SECONDS", 1)
    real = problem.find_final
    # In C code, where Python's signal handlers do not run: the kernel kills the process.
    monkeypatch.setattr(problem, "find_final", lambda text: 9**9**9 if "tower" in text else real(text))
    problems = [Problem("4", [r"\boxed{4}", "a tower", "It is 5."]), Problem("5", [r"\boxed{5}"])]
    grades = dict(grade_all(problems, processes=2))
    assert [found.verdict for found in grades[0]] == [RIGHT, UNKNOWN, WRONG]
    assert [found.verdict for found in grades[1]] == [RIGHT]


def test_a_response_over_the_time_limit_is_unknown(monkeypatch):
    monkeypatch.setattr(limits, "CPU_SECONDS", 0.2)

    def loop(_text):
        while True:
            pass

    real = problem.find_final
    monkeypatch.setattr(problem, "find_final", lambda text: loop(text) if "loop" in text else real(text))
    ((_, grades),) = grade_all([Problem("4", ["a loop", "It is 4."])], processes=1)
    assert [found.verdict for found in grades] == [UNKNOWN, RIGHT]
    assert "CPU time" in grades[0].detail


HOSTILE = [
    r"9^{9^{9^{9}}}", r"\frac{1}{10^{10^{10}}}", "1" * 1900 + "!", r"\sqrt" * 300 + "{2}", "(" * 900 + "1" + ")" * 900,
    "{" * 900 + "1" + "}" * 900, r"\binom{10^9}{10^8}", "1," * 900 + "1", "|" * 1500, r"\frac{" * 300,
    "((x+1)^{99})^{99}",
    "2^2^2^2^2^2^2", r"\sin" * 200 + "x", "x" * 1900, "1 " * 900, "1/" * 700 + "3", r"\text{" * 400 + "a" + "}" * 400,
    "(x+1)" * 300, r"\pm" * 500 + "1", "a<" * 700 + "b", "$" * 1999, r"\left" * 300, "1e" + "9" * 300, "-" * 1999 + "1",
    r"e^{e^{e^{e^{e^{9}}}}}", r"\log" * 300 + "2", r"(1+i)^{19999}", r"\cup".join(["(1,2)"] * 200),
    "0." + r"\overline{1}" * 150,
    "x or " * 300 + "x", "10000!", "((((2^{99})^{99})^{99})^{99})", r"\tan(\tan(\tan(10^{300})))",
]  # fmt: skip


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_answer_is_judged_within_the_limit(hostile):
    began = time.process_time()
    assert grade("7", box(hostile)).verdict is not RIGHT
    assert grade("x^2+y", box(hostile)).verdict is not RIGHT
    grade(hostile, box(hostile))
    assert time.process_time() - began < limits.CPU_SECONDS


def time_of(text):
    began = time.process_time()
    grade("7", text)
    return time.process_time() - began


LONG = [
    "the answer is ", "<think>", "</think>", r"\boxed{", r"\boxed", "$", "$1", r"\(", r"\[", "#### ", "**", "1,", "1 ",
    "answer: a\n",
    "option ", "{", "<answer>", "答案是", "-", r"\boxed{1} and ", "the answer " + "x" * 39,
]  # fmt: skip


@pytest.mark.parametrize("piece", LONG)
def test_the_time_for_a_long_response_is_limited(piece):
    assert time_of(piece * (100_000 // len(piece))) < 2


# Fast paths ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gold", ["42", "-42", "7", "0", "x", "42.0", "42 cm"])
def test_the_shortcut_for_integers_agrees_with_the_full_reading(monkeypatch, gold):
    chance = random.Random(3)
    ends = ["", ".", "$", " $.", "\\]", "\n\\].", " cm", "%", "}", "!", "^2", " \\times 2", "\n\nDone."]
    contents = ["42", "-42", "7", "0", "042", "4 2"]
    starts = ["", "$", "\\[", "-", "- $", "x = ", r"\boxed{1} ", "<think>", "The final answer is 7. "]
    answers = [
        f"We get {chance.choice(starts)}\\boxed{{{chance.choice(contents)}}}{chance.choice(ends)}" for _ in range(200)
    ]
    short = grade_problem(Problem(gold, answers))
    monkeypatch.setattr(problem, "BOXED_INTEGER", re.compile("(?!)"))
    full = grade_problem(Problem(gold, answers))
    for answer, one, other in zip(answers, short, full, strict=True):
        assert one.verdict is other.verdict, answer
