"""LiveCodeBench in the sandbox: the official verdicts on invented problems, the limits of time, and LiveBench."""

import json
import sys
from pathlib import Path

import pytest
from oracle.live_code_bench_cases import PROBLEMS

from fusionrun.api.evaluation_records import Question
from fusionrun_stages.grade import DISTURBED, PROMPT_FAULT
from fusionrun_stages.grading.coding.benchmark import Asked, grade_questions
from fusionrun_stages.grading.live_code_bench import grading

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox requires Linux")

VERDICTS = Path(__file__).parents[1] / "grading/live_code_bench_verdicts.json"


def question(tests, function=None, **more):
    cases = [{"input": given, "output": expected, "testtype": "stdin"} for given, expected in tests]
    data = json.dumps({"fn_name": function, "tests": cases, **more})
    return Question(prompt_id="q", dataset="d", task="LiveCodeBench", prompt="?", data=data)


def answer(program):
    return f"So:\n```python\n{program}\n```\n"


def graded(asked, programs):
    texts = [answer(program) for program in programs]
    found = {text: result.grade for _, text, result in grade_questions([Asked(asked, texts)], 1)}
    return [found[text] for text in texts]


def test_programs_get_the_official_verdicts(runner, monkeypatch):
    monkeypatch.setattr(grading, "TEST_SECONDS", 1.0)
    official = json.loads(VERDICTS.read_text(encoding="utf-8"))["programs"]
    asked = [Asked(question(p.tests, p.function), [answer(program) for program in p.programs]) for p in PROBLEMS]
    found = {(index, text): result.grade for index, text, result in grade_questions(asked, 2)}
    rows = [(number, program, passes, found[number, answer(program)]) for number, program, passes, _ in official]
    assert [row for row in rows if (row[3].verdict == "right") != row[2]] == []
    assert len(rows) == sum(len(problem.programs) for problem in PROBLEMS) >= 100


def test_a_slow_test_is_wrong_and_a_sleeping_one_is_disturbed(runner, monkeypatch):
    monkeypatch.setattr(grading, "TEST_SECONDS", 0.2)
    monkeypatch.setattr(grading, "REPLY_SECONDS", 1.0)
    slow = "while True:\n    try:\n        1 / 0\n    except BaseException:\n        pass"
    loads = "def f(x):\n    return x\nwhile True:\n    pass"
    (first, second) = graded(question([("1", "1")]), [slow, "import time\ntime.sleep(100)"])
    (third,) = graded(question([("1", "1")], "f"), [loads])
    assert [first.verdict, third.verdict] == ["wrong", "wrong"]
    assert "CPU time" in first.detail
    assert "CPU time" in third.detail
    assert second.verdict == "unknown"
    assert second.detail.startswith(DISTURBED)


def test_a_completion_continues_the_partial_solution(runner):
    beginning = "class Solution:\n    def double(self, x):\n        y = 2 * x"
    asked = question([("2", "4")], "double", partial_solution=beginning)
    right, wrong = graded(asked, ["        return y", "        return x"])
    assert (right.verdict, wrong.verdict) == ("right", "wrong")
    assert wrong.detail == "failed: test 0: it returns 2"


def test_tests_that_cannot_be_used_make_the_question_unusable(runner):
    (grade,) = graded(question([]), ["print(1)"])
    assert grade.detail == PROMPT_FAULT + "its tests cannot be used: it has no tests"


def test_large_inputs_are_sent_and_outputs_are_limited(runner):
    large = "1 " * 3 * 2**20
    right, flood = graded(
        question([(large, str(3 * 2**20))]), ["print(len(input().split()))", "print('x' * 5 * 2 ** 20)"]
    )
    assert right.verdict == "right"
    assert flood.verdict == "unknown"  # evaluation counts it as wrong
