"""Hostile programs: none may pass, escape or affect the next one."""

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from fusionrun_stages.grading import coding
from fusionrun_stages.sandbox import judge
from fusionrun_stages.sandbox.judge import Judge
from support.hostile import (
    ADD,
    BOMBS,
    DENIED,
    ENDED,
    HARMLESS,
    LOOPHOLES,
    RIGHT,
    SOCKET,
    TESTS,
    UNKNOWN,
    WRONG,
    denied_by,
    forged,
    program_with_attack,
)
from support.routes import OPTIMISED, ROUTES, THIEF, VICTIM

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox requires Linux")


@pytest.mark.parametrize(("program", "verdict"), [p[1:] for p in LOOPHOLES], ids=[p[0] for p in LOOPHOLES])
def test_a_program_that_cheats_does_not_pass(grade, quick, monkeypatch, program, verdict):
    if verdict is UNKNOWN:
        monkeypatch.setattr(judge, "WALL_SECONDS", 2.0)
    assert grade(program, *TESTS).verdict is verdict
    check = "def check(candidate):\n    " + "\n    ".join(t.replace("f(", "candidate(") for t in TESTS)
    assert grade(program, check, entry_point="f").verdict in (WRONG, UNKNOWN)


@pytest.mark.parametrize("route", ROUTES, ids=[route.name for route in ROUTES])
def test_a_wrong_program_is_not_right_by_a_fault_of_the_judge(grade, route):
    assert grade(route.program, *route.tests, entry_point=route.entry_point).verdict is route.verdict


@pytest.mark.parametrize("route", OPTIMISED, ids=[route.name for route in OPTIMISED])
def test_assertions_are_kept_by_an_optimising_python(route):
    """In this process: ``-O`` drops the assertions of code that is compiled with its own level."""
    source = (
        "from fusionrun_stages.sandbox.steps import run_steps\n"
        "from fusionrun_stages.sandbox.suite import PromptTests\n"
        "import sys, json\nprogram, tests, entry = json.loads(sys.argv[1])\nspace = {}\n"
        "exec(compile(program, 'solution.py', 'exec', optimize=0), space)\n"
        "print(run_steps(PromptTests(tests, entry), space).verdict)\n"
    )
    given = json.dumps([route.program, route.tests, route.entry_point])
    environment = {"PYTHONPATH": f"{ROOT}/operator:{ROOT}/images", "PYTHONDONTWRITEBYTECODE": "1"}
    found = subprocess.run(
        [sys.executable, "-O", "-c", source, given], env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout == "wrong\n"


def test_a_program_does_not_find_the_text_of_an_earlier_one(runner):
    with closing(Judge()) as worker:
        for _ in range(4):
            assert worker.grade(VICTIM, ("assert f(2) == 20",), None).verdict is RIGHT
            assert worker.grade(THIEF, ("assert f() == False",), None) == (RIGHT, "")


def test_the_runner_never_receives_a_program(grade, monkeypatch):
    sent = []
    real = judge.send
    monkeypatch.setattr(judge, "send", lambda channel, message: sent.append(message) or real(channel, message))
    assert grade(ADD, *("assert f(1, 2) == 3",)).verdict is RIGHT
    assert [list(message) for message in sent] == [["limits", "wakeup"]]


@pytest.mark.parametrize("names", ["{'f': h, '__builtins__': ['dict', [['abs', h]]]}", "{'f': h, 'abs': h}"])
def test_a_program_cannot_replace_builtins_of_the_tests(grade, names):
    """The forged abs returns 0."""
    program = forged(names, answer="0")
    assert grade(program, "assert abs(f(1) - 0.33) < 1e-6").verdict is not RIGHT
    assert grade(program, "assert abs(f(1) - 0) < 1e-6").verdict is (WRONG if "__" in names else RIGHT)


@pytest.mark.parametrize(("attack", "by"), [s[1:] for s in DENIED], ids=[s[0] for s in DENIED])
def test_an_attack_is_denied(runner, grade, quick, attack, by):
    socket = Path(os.environ["FUSIONRUN_SANDBOX_SOCKET"])
    before = socket.stat()
    attack = attack.replace(SOCKET, str(socket))
    assert grade(program_with_attack(attack), denied_by(by)) in ((RIGHT, ""), (WRONG, "ended: by SIGXFSZ"))
    assert runner.poll() is None
    assert socket.stat() == before
    assert grade(ADD, "assert f(1, 2) == 3").verdict is RIGHT  # by a new connection


@pytest.mark.parametrize(("program", "verdict", "detail"), [p[1:] for p in ENDED], ids=[p[0] for p in ENDED])
def test_an_endless_program_is_killed_and_the_next_one_runs(runner, quick, monkeypatch, program, verdict, detail):
    if verdict is UNKNOWN:
        monkeypatch.setattr(judge, "WALL_SECONDS", 2.0)
    with closing(Judge()) as worker:
        found = worker.grade(program, ("assert f() == 1",), None)
        assert found.verdict is verdict
        assert detail in found.detail
        assert worker.grade(ADD, ("assert f(1, 2) == 3",), None).verdict is RIGHT
    assert not list(Path(os.environ["FUSIONRUN_SANDBOX_SOCKET"]).parent.glob("*/program-*"))


def test_a_bomb_does_not_make_another_program_wrong(runner, quick):
    """Two programs at once, as in the pod; most of the time one of them is a bomb."""
    submissions = []
    for number, bomb in enumerate(BOMBS):
        submissions.append(coding.Submission(bomb, ("assert f() == 1",), None))
        submissions += [coding.Submission(f"{p}# {number}", (test,), None) for _, p, test in HARMLESS]
    grades = dict(coding.grade_all(submissions, 2))
    harmless = [grades[i] for i, program in enumerate(submissions) if program.answer not in BOMBS]
    assert len(harmless) == len(BOMBS) * len(HARMLESS)
    assert [found for found in harmless if found.verdict is WRONG] == []
    assert sum(found.verdict is RIGHT for found in harmless) >= 0.9 * len(harmless)
    assert RIGHT not in {grades[i].verdict for i, program in enumerate(submissions) if program.answer in BOMBS}
