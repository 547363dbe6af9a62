"""The sandbox: right and wrong programs, the death of programs and runners, and a whole shard.

Runner and judge are two processes here and two containers in the pod. As root, the runner gets another UID. Network and
root file system of the pod are tested on the cluster (tests/e2e/test_sandbox_pod.py).
"""
# ruff: noqa: E501 (one hostile program per line)

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from fusionrun.api.records import Verdict
from fusionrun.api.results.values import Verified
from fusionrun.api.spec.evaluation import Grader
from fusionrun.api.tasks.responses import VerifyParameters
from fusionrun_stages import verify
from fusionrun_stages.errors import InfrastructureError
from fusionrun_stages.grade import DISTURBED, PROMPT_FAULT
from fusionrun_stages.grading import coding
from fusionrun_stages.sandbox import confine, connection, judge
from fusionrun_stages.sandbox.judge import Judge
from fusionrun_stages.volume.parquet import read_rows
from support.hostile import ADD, PACKAGES, RIGHT, STYLES, UNKNOWN, WRONG
from support.stage import make_work, prompt, response, write_inputs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox requires Linux")


@pytest.mark.parametrize(("program", "tests", "entry_point"), [s[1:] for s in STYLES], ids=[s[0] for s in STYLES])
def test_a_right_program_passes(grade, program, tests, entry_point):
    assert grade(program, *tests, entry_point=entry_point) == (RIGHT, "")


@pytest.mark.parametrize(("package", "program", "test"), PACKAGES, ids=[p[0] for p in PACKAGES])
def test_the_packages_of_the_image_work_within_the_limits(grade, runner, package, program, test):
    """On the cluster the image has all of them; here a package may be missing."""
    found = subprocess.run([runner.args[0], "-c", f"import {package}"], check=False, capture_output=True, cwd="/")
    if found.returncode:
        pytest.skip(f"{runner.args[0]} has no {package}")
    assert grade(program, test) == (RIGHT, "")


FAILURES = [
    ("a wrong value", ADD, ["assert f(1, 2) == 4"], None, WRONG, "failed: assert f(1, 2) == 4"),
    ("the last of many", ADD, ["assert f(1, 2) == 3", "assert f(1, 2) == 4"], None, WRONG, "failed"),
    ("no such function", "def g():\n    pass\n", ["assert f(1, 2) == 4"], None, WRONG, "raised: NameError"),
    ("no such entry point", "def g():\n    pass\n", ["def check(c):\n    assert c() == 4"], "f", WRONG, "raised: NameError"),
    ("raises", "def f():\n    return 1 / 0\n", ["assert f() == 4"], None, WRONG, "raised: ZeroDivisionError"),
    ("does not load", "1 / 0\n", ["assert f() == 4"], None, WRONG, "not loaded: ZeroDivisionError"),
    ("needs a module", "import not_there.core\n", ["assert f() == 4"], None, UNKNOWN, "missing module: not_there"),
    ("too few arguments", "def f():\n    return 1\n", ["assert f(1) == 1"], None, WRONG, "raised: TypeError"),
    ("tests that do not call it", ADD, ["assert 1 == 1"], None, UNKNOWN, PROMPT_FAULT + "no test calls the program"),
    ("tests that call it only sometimes", ADD, ["if len('a') > 1:\n    f(1, 2)\nassert 1 == 1"], None, UNKNOWN, "no test called the program"),
    ("tests that assert nothing", ADD, ["f(1, 2)"], None, UNKNOWN, PROMPT_FAULT + "its tests assert nothing"),
    ("assertions that nothing calls", ADD, ["r = f(1, 2)\ndef case():\n    assert r == 4"], None, UNKNOWN, PROMPT_FAULT + "its tests assert in case"),
    ("a check without an entry point", ADD, ["f(1, 2)\ndef check(c):\n    assert c(1, 2) == 4"], None, UNKNOWN, PROMPT_FAULT),
    ("a class that nothing calls", ADD, ["f(1, 2)\nclass Sums:\n    def test_f(self):\n        assert f(1, 2) == 4"], None, UNKNOWN, PROMPT_FAULT),
    ("a test that wants a fixture", ADD, ["f(1, 2)\ndef test_f(sums):\n    assert f(1, 2) == sums"], None, UNKNOWN, PROMPT_FAULT),
    ("a test that is a generator", ADD, ["f(1, 2)\ndef test_f():\n    yield\n    assert f(1, 2) == 4"], None, UNKNOWN, PROMPT_FAULT),
    ("a test that is a coroutine", ADD, ["f(1, 2)\nasync def test_f():\n    assert f(1, 2) == 4"], None, UNKNOWN, PROMPT_FAULT),
    ("a method that is not a test", ADD, ["import unittest\nf(1, 2)\nclass T(unittest.TestCase):\n    def sums(self):\n        self.assertEqual(f(1, 2), 4)"],
     None, UNKNOWN, PROMPT_FAULT),
    ("tests that expect to fail", ADD, ["import unittest\nclass T(unittest.TestCase):\n    @unittest.expectedFailure\n    def test_f(self):\n"
     "        self.assertEqual(f(1, 2), 4)"], None, UNKNOWN, PROMPT_FAULT),
    ("tests that are skipped", ADD, ["import unittest\nclass T(unittest.TestCase):\n    @unittest.skip('not now')\n    def test_f(self):\n"
     "        self.assertEqual(f(1, 2), 4)"], None, UNKNOWN, PROMPT_FAULT),
    ("tests that return", ADD, ["assert f(1, 2) == 3\nreturn"], None, UNKNOWN, PROMPT_FAULT + "its tests are not valid Python"),
    ("tests that exit", ADD, ["assert f(1, 2) == 3\nraise SystemExit"], None, UNKNOWN, "the tests called exit"),
    ("a unittest.TestCase", ADD, ["import unittest\nr = f(1, 2)\nclass T(unittest.TestCase):\n    def test_f(self):\n        self.assertEqual(r, 4)"],
     None, WRONG, "failed: class T"),
    ("a pytest class", ADD, ["r = f(1, 2)\nclass TestF:\n    def test_f(self):\n        assert r == 4"], None, WRONG, "failed: class TestF"),
    ("the first of two tests of one name", ADD, ["def test_f():\n    assert f(1, 2) == 4", "def test_f():\n    assert f(1, 2) == 3"], None, WRONG, "failed: test_f()"),
    ("the first of two checks", ADD, ["def check(c):\n    assert c(1, 2) == 4", "def check(c):\n    assert c(1, 2) == 3"], "f", WRONG, "failed: check(f)"),
    ("the name of a builtin", "def sum(a, b):\n    return a + b\n", ["assert sum(1, 2) == 3"], None, UNKNOWN, PROMPT_FAULT + "no test calls the program"),
    ("the name of a builtin and another one", "def abs(a):\n    return a\ndef f(a):\n    return a\n", ["assert abs(f(-1)) == -1"], None, UNKNOWN,
     "abs is defined by Python"),
    ("tests that are not valid Python", ADD, ["assert f(1, 2) =="], None, UNKNOWN, PROMPT_FAULT + "its tests are not valid Python"),
    ("tests that need a module", ADD, ["import not_there\nassert f(1, 2) == 3"], None, UNKNOWN, PROMPT_FAULT + "missing module: not_there"),
    ("a function as an argument", "def f(g):\n    return g(1)\n", ["assert f(lambda x: x) == 1"], None, UNKNOWN, "not plain"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("program", "tests", "entry_point", "verdict", "detail"), [f[1:] for f in FAILURES], ids=[f[0] for f in FAILURES]
)
def test_a_failing_program_gets_a_verdict_with_a_reason(grade, program, tests, entry_point, verdict, detail):
    found = grade(program, *tests, entry_point=entry_point)
    assert found.verdict is verdict
    assert found.detail.startswith(detail)


def kill_handlers(runner):
    for handler in Path(f"/proc/{runner.pid}/task/{runner.pid}/children").read_text().split():
        os.kill(int(handler), 9)


def test_a_program_is_unknown_if_its_runner_dies(runner):
    with closing(Judge()) as worker:
        assert worker.grade(ADD, ("assert f(1, 2) == 3",), None).verdict is RIGHT
        kill_handlers(runner)
        found = worker.grade(ADD, ("assert f(1, 2) == 3",), None)
        assert (found.verdict, found.detail[: len(DISTURBED)]) == (UNKNOWN, DISTURBED)
        assert worker.grade(ADD, ("assert f(1, 2) == 3",), None).verdict is RIGHT


def test_a_disturbed_program_is_run_again_alone(runner, tmp_path, monkeypatch):
    """Each program is disturbed the first time, as if the container were out of memory."""
    real = judge.Judge.grade

    def disturbed_once(self, program, tests, entry_point, preamble):
        try:
            (tmp_path / program[-2:]).touch(exist_ok=False)
        except FileExistsError:
            return real(self, program, tests, entry_point, preamble)
        return judge.disturbed("out of memory")

    monkeypatch.setattr(judge.Judge, "grade", disturbed_once)
    submissions = [coding.Submission(f"{ADD}#{i:02}", ("assert f(1, 2) == 3",), None) for i in range(4)]
    assert dict(coding.grade_all(submissions, 2)) == dict.fromkeys(range(4), (RIGHT, ""))


def test_a_program_that_is_disturbed_again_is_unknown(runner, quick):
    bomb = "import threading, time\nwhile True:\n    threading.Thread(target=time.sleep, args=(9,)).start()\n"
    ((_, found),) = coding.grade_all([coding.Submission(bomb, ("assert f(1, 2) == 3",), None)])
    assert (found.verdict, found.detail[: len(DISTURBED)]) == (UNKNOWN, DISTURBED)


def test_a_sandbox_that_cannot_run_programs_fails_the_stage(runner, monkeypatch):
    monkeypatch.setattr(judge.Judge, "grade", lambda *_: judge.disturbed("no memory"))
    with pytest.raises(InfrastructureError, match="cannot run programs: disturbed: no memory"):
        list(coding.grade_all([coding.Submission(ADD, ("assert f(1, 2) == 3",), None)]))


REPORT = {"signal": None, "code": 1, "killed_by_us": False, "excess": None, "cpu_seconds": 0.1}


@pytest.mark.parametrize(
    ("found", "report", "verdict"),
    [
        (judge.wrong("ended: its process ended"), {}, WRONG),
        (judge.wrong("ended: its process ended"), {"signal": 9, "code": None}, UNKNOWN),
        (judge.wrong("ended: its answer is no answer"), {"signal": 9, "code": None, "killed_by_us": True}, WRONG),
        (judge.wrong("ended: its process ended"), {"signal": 9, "code": None, "cpu_seconds": 6.0}, WRONG),
        (judge.wrong("ended: its process ended"), {"signal": 40, "code": None}, WRONG),
        (judge.disturbed("it was not started"), {}, UNKNOWN),
        (None, {"signal": 9, "killed_by_us": True, "excess": "it made more than 4096 files"}, WRONG),
    ],
)
def test_a_killed_program_is_wrong_only_if_it_caused_its_end(found, report, verdict):
    assert judge._combine(found, REPORT | report, in_time=True).verdict is verdict


def test_a_program_that_cannot_be_confined_is_unknown(grade, monkeypatch):
    monkeypatch.setattr(judge, "PROGRAM_LIMITS", judge.ResourceLimits("no number", 2**20, 2**20))
    found = grade(ADD, "assert f(1, 2) == 3")
    assert (found.verdict, found.detail[: len(DISTURBED)]) == (UNKNOWN, DISTURBED)


def test_a_runner_that_does_not_restart_fails_the_stage(runner, monkeypatch, tmp_path):
    monkeypatch.setenv("FUSIONRUN_SANDBOX_SOCKET", str(tmp_path / "missing.sock"))
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 0.1)
    with pytest.raises(InfrastructureError, match="does not listen"):
        list(coding.grade_all([coding.Submission(ADD, ("assert f(1, 2) == 3",), None)]))


def test_landlock_is_required_unless_a_runtime_class_is_set(monkeypatch, tmp_path):
    monkeypatch.setattr(confine, "landlock_version", lambda: 0)
    with pytest.raises(OSError, match="no Landlock"):
        confine._restrict_files(tmp_path, optional=False)
    confine._restrict_files(tmp_path, optional=True)
    for name, optional in (("", False), ("gvisor", True)):
        monkeypatch.setenv("FUSIONRUN_SANDBOX_RUNTIME_CLASS", name)
        assert Judge()._optional == {"landlock_optional": optional}


def test_many_programs_in_a_row_pass(runner):
    submissions = [
        coding.Submission(f"```python\n{ADD}# {i // 2}\n```", ("assert f(1, 2) == 3",), None) for i in range(100)
    ]
    grades = dict(coding.grade_all(submissions))
    assert {g.verdict for g in grades.values()} == {RIGHT}
    assert sorted(grades) == list(range(100))


def test_verify_judges_the_programs_of_a_shard(runner, tmp_path):
    answers = {
        "right": f"```python\n{ADD}```",
        "wrong": "def f(a, b): return 0",
        "syntax": "def f(",
        "none": "I cannot.",
        # An error message with a surrogate, in a call and at load.
        "surrogate": "def f(a, b): raise ValueError('half \\ud83d')",
        "surrogate at load": "def f(a, b): return 3\nraise ValueError('half \\ud83d')",
    }
    prompts = [prompt(name, task="Coding", tests=["assert f(1, 2) == 3"]) for name in sorted(answers)]
    inputs = write_inputs(tmp_path, prompts, [response(name, text) for name, text in sorted(answers.items())])
    parameters = VerifyParameters(grader=Grader.CODING, datasets=["d"], source="s", **inputs)
    made = verify.run(make_work(tmp_path, parameters, shard=0))
    rows = {row.prompt_id: row for row in read_rows(tmp_path / made.files[0], Verdict)}
    assert made.values == Verified(right=1, wrong=5, unknown=0)
    assert made.details["sandbox"] == {"landlock": confine.landlock_version(), "runtime_class": None}
    assert rows["right"].verdict is RIGHT
    assert [rows[name].detail.split(":")[0] for name in ("wrong", "syntax", "none")] == ["failed", "static", "static"]
    assert rows["surrogate"].detail.startswith("raised: ValueError: half \ufffd in ")
    assert rows["surrogate at load"].detail.startswith("not loaded: ValueError: half \ufffd")
