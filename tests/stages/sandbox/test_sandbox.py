"""The sandbox: what passes, what fails, and that no hostile program passes, escapes or stops the next one.

Runner and judge are two processes here, as they are two containers in the pod; under root the runner gets a UID of its
own. The pod's walls (no network, read-only root) are tested in the cluster (tests/e2e/test_sandbox_pod.py).
"""
# ruff: noqa: E501 (one hostile program a line)

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from fusionrun.api.data import Grader
from fusionrun.api.parameters import VerifyParameters
from fusionrun.api.records import Prompt, Response, Verdict
from fusionrun.api.task import StageTask
from fusionrun.api.values import Verified
from fusionrun_stages import verify
from fusionrun_stages.errors import InfrastructureError
from fusionrun_stages.grade import DISTURBED, PROMPT_FAULT
from fusionrun_stages.grading import coding
from fusionrun_stages.sandbox import confine, connection, judge
from fusionrun_stages.sandbox.judge import Judge
from fusionrun_stages.volume.parquet import read_rows, write_rows
from fusionrun_stages.work import Work
from support.hostile import (
    ADD,
    BOMBS,
    ENDED,
    INNOCENTS,
    LOOPHOLES,
    RIGHT,
    SOCKET,
    STOPPED,
    STYLES,
    TESTS,
    UNKNOWN,
    WRONG,
    forged,
    says,
    stopped,
)

ROOT = Path(__file__).parents[3]
RUNNER_UID = 2000

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is Linux's")


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sandbox")
    folder.chmod(0o777)
    for parent in folder.parents[:2]:
        parent.chmod(0o755)
    own_uid = {"user": RUNNER_UID, "group": RUNNER_UID, "extra_groups": []} if os.getuid() == 0 else {}
    python = sys.executable
    if own_uid and not all(parent.stat().st_mode & 1 for parent in Path(python).resolve().parents):
        python = "/usr/bin/python3"  # the interpreter lies where only root can read; the runner needs no library
    process = subprocess.Popen(
        [python, "-m", "fusionrun_stages.sandbox.runner", "--socket", str(folder / "runner.sock")],
        env={
            "PYTHONPATH": f"{ROOT}/operator:{ROOT}/images",
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": str(folder),
            "SECRET": "do not read",
        },
        stdout=subprocess.PIPE,
        text=True,
        **own_uid,
    )
    assert "ready" in process.stdout.readline()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FUSIONRUN_SANDBOX_SOCKET", str(folder / "runner.sock"))
        patch.setenv("FUSIONRUN_SANDBOX_PROBE", "off")
        patch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        yield process
    process.terminate()
    assert process.wait(10) == 0
    process.stdout.close()


@pytest.fixture
def quick(monkeypatch):
    """Shorter limits."""
    monkeypatch.setattr(judge, "CPU_SECONDS", 1)
    monkeypatch.setattr(judge, "WALL_SECONDS", 30.0)
    monkeypatch.setattr(judge, "PROGRAM_LIMITS", judge.Limits(1, 256 * 2**20, 2**20))


def grade(program, *tests, entry_point=None):
    with closing(Judge()) as judged:
        return judged.grade(program, tests, entry_point)


@pytest.mark.parametrize(("program", "tests", "entry_point"), [s[1:] for s in STYLES], ids=[s[0] for s in STYLES])
def test_a_right_program_passes(runner, program, tests, entry_point):
    assert grade(program, *tests, entry_point=entry_point) == (RIGHT, "")


FAILURES = [
    ("a wrong value", ADD, ["assert f(1, 2) == 4"], None, WRONG, "failed: assert f(1, 2) == 4"),
    ("the last of many", ADD, ["assert f(1, 2) == 3", "assert f(1, 2) == 4"], None, WRONG, "failed"),
    ("no such function", "def g():\n    pass\n", ["assert f(1, 2) == 4"], None, WRONG, "raised: NameError"),
    ("no such entry point", "def g():\n    pass\n", ["def check(c):\n    assert c() == 4"], "f", WRONG, "raised: NameError"),
    ("raises", "def f():\n    return 1 / 0\n", ["assert f() == 4"], None, WRONG, "raised: ZeroDivisionError"),
    ("does not load", "import not_there\n", ["assert f() == 4"], None, WRONG, "not loaded"),
    ("too few arguments", "def f():\n    return 1\n", ["assert f(1) == 1"], None, WRONG, "raised: TypeError"),
    ("tests that do not call it", ADD, ["assert 1 == 1"], None, UNKNOWN, "no test calls the program"),
    ("tests that assert nothing", ADD, ["f(1, 2)"], None, UNKNOWN, PROMPT_FAULT + "its tests assert nothing"),
    ("tests that nothing calls", ADD, ["r = f(1, 2)\ndef case():\n    assert r == 4"], None, UNKNOWN, PROMPT_FAULT + "its tests assert in case"),
    ("a check without an entry point", ADD, ["f(1, 2)\ndef check(c):\n    assert c(1, 2) == 4"], None, UNKNOWN, PROMPT_FAULT),
    ("a class that nothing calls", ADD, ["f(1, 2)\nclass Sums:\n    def test_f(self):\n        assert f(1, 2) == 4"], None, UNKNOWN, PROMPT_FAULT),
    ("a test that wants a fixture", ADD, ["f(1, 2)\ndef test_f(sums):\n    assert f(1, 2) == sums"], None, UNKNOWN, PROMPT_FAULT),
    ("a test that is a generator", ADD, ["f(1, 2)\ndef test_f():\n    yield\n    assert f(1, 2) == 4"], None, UNKNOWN, PROMPT_FAULT),
    ("a test that is a coroutine", ADD, ["f(1, 2)\nasync def test_f():\n    assert f(1, 2) == 4"], None, UNKNOWN, PROMPT_FAULT),
    ("a method that is no test", ADD, ["import unittest\nf(1, 2)\nclass T(unittest.TestCase):\n    def sums(self):\n        self.assertEqual(f(1, 2), 4)"],
     None, UNKNOWN, PROMPT_FAULT),
    ("tests that expect to fail", ADD, ["import unittest\nclass T(unittest.TestCase):\n    @unittest.expectedFailure\n    def test_f(self):\n"
     "        self.assertEqual(f(1, 2), 4)"], None, UNKNOWN, PROMPT_FAULT),
    ("tests that are skipped", ADD, ["import unittest\nclass T(unittest.TestCase):\n    @unittest.skip('not now')\n    def test_f(self):\n"
     "        self.assertEqual(f(1, 2), 4)"], None, UNKNOWN, PROMPT_FAULT),
    ("tests that return", ADD, ["assert f(1, 2) == 3\nreturn"], None, UNKNOWN, PROMPT_FAULT + "its tests are no Python"),
    ("tests that exit", ADD, ["assert f(1, 2) == 3\nraise SystemExit"], None, UNKNOWN, "the tests ended themselves"),
    ("a unittest.TestCase", ADD, ["import unittest\nr = f(1, 2)\nclass T(unittest.TestCase):\n    def test_f(self):\n        self.assertEqual(r, 4)"],
     None, WRONG, "failed: class T"),
    ("a pytest class", ADD, ["r = f(1, 2)\nclass TestF:\n    def test_f(self):\n        assert r == 4"], None, WRONG, "failed: class TestF"),
    ("the first of two tests of one name", ADD, ["def test_f():\n    assert f(1, 2) == 4", "def test_f():\n    assert f(1, 2) == 3"], None, WRONG, "failed: test_f()"),
    ("the first of two checks", ADD, ["def check(c):\n    assert c(1, 2) == 4", "def check(c):\n    assert c(1, 2) == 3"], "f", WRONG, "failed: check(f)"),
    ("a builtin's name, which may be meant", "def sum(a, b):\n    return a + b\n", ["assert sum(1, 2) == 3"], None, UNKNOWN, "sum is a name of"),
    ("tests that are no Python", ADD, ["assert f(1, 2) =="], None, UNKNOWN, PROMPT_FAULT + "its tests are no Python"),
    ("tests that need a module", ADD, ["import not_there\nassert f(1, 2) == 3"], None, UNKNOWN, PROMPT_FAULT),
    ("a function as an argument", "def f(g):\n    return g(1)\n", ["assert f(lambda x: x) == 1"], None, UNKNOWN, "not plain"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("program", "tests", "entry_point", "verdict", "detail"), [f[1:] for f in FAILURES], ids=[f[0] for f in FAILURES]
)
def test_what_does_not_pass_says_why(runner, program, tests, entry_point, verdict, detail):
    found = grade(program, *tests, entry_point=entry_point)
    assert found.verdict is verdict
    assert found.detail.startswith(detail)


@pytest.mark.parametrize(("program", "verdict"), [p[1:] for p in LOOPHOLES], ids=[p[0] for p in LOOPHOLES])
def test_no_loophole_passes(runner, quick, monkeypatch, program, verdict):
    if verdict is UNKNOWN:
        monkeypatch.setattr(judge, "WALL_SECONDS", 2.0)
    assert grade(program, *TESTS).verdict is verdict
    check = "def check(candidate):\n    " + "\n    ".join(t.replace("f(", "candidate(") for t in TESTS)
    assert grade(program, check, entry_point="f").verdict in (WRONG, UNKNOWN)


@pytest.mark.parametrize("names", ["{'f': h, '__builtins__': ['dict', [['abs', h]]]}", "{'f': h, 'abs': h}"])
def test_no_program_gives_the_tests_their_builtins(runner, names):
    """Its abs says 0 to everything."""
    program = forged(names, answer="0")
    assert grade(program, "assert abs(f(1) - 0.33) < 1e-6").verdict is not RIGHT
    assert grade(program, "assert abs(f(1) - 0) < 1e-6").verdict is (WRONG if "__" in names else RIGHT)


@pytest.mark.parametrize(("attack", "by"), [s[1:] for s in STOPPED], ids=[s[0] for s in STOPPED])
def test_an_attack_is_stopped(runner, quick, attack, by):
    attack = attack.replace(SOCKET, os.environ["FUSIONRUN_SANDBOX_SOCKET"])
    assert grade(says(attack), stopped(by)) in ((RIGHT, ""), (WRONG, "ended: by SIGXFSZ"))
    assert runner.poll() is None


@pytest.mark.parametrize(("program", "verdict", "detail"), [p[1:] for p in ENDED], ids=[p[0] for p in ENDED])
def test_a_program_without_end_is_ended_and_the_next_one_runs(runner, quick, monkeypatch, program, verdict, detail):
    if verdict is UNKNOWN:
        monkeypatch.setattr(judge, "WALL_SECONDS", 2.0)
    with closing(Judge()) as judged:
        found = judged.grade(program, ("assert f() == 1",), None)
        assert found.verdict is verdict
        assert detail in found.detail
        assert judged.grade(ADD, ("assert f(1, 2) == 3",), None).verdict is RIGHT
    assert not list(Path(os.environ["FUSIONRUN_SANDBOX_SOCKET"]).parent.glob("*/program-*"))


def kill_handlers(runner):
    for handler in Path(f"/proc/{runner.pid}/task/{runner.pid}/children").read_text().split():
        os.kill(int(handler), 9)


def test_a_program_is_not_wrong_because_the_runner_died_with_it(runner):
    with closing(Judge()) as judged:
        assert judged.grade(ADD, ("assert f(1, 2) == 3",), None).verdict is RIGHT
        kill_handlers(runner)
        found = judged.grade(ADD, ("assert f(1, 2) == 3",), None)
        assert (found.verdict, found.detail[: len(DISTURBED)]) == (UNKNOWN, DISTURBED)
        assert judged.grade(ADD, ("assert f(1, 2) == 3",), None).verdict is RIGHT


def test_what_a_neighbour_disturbed_is_run_again_alone(runner, tmp_path, monkeypatch):
    """The first time each is disturbed, as if the container had run out of memory."""
    real = judge.Judge.grade

    def disturbed_once(self, program, tests, entry_point):
        try:
            (tmp_path / program[-2:]).touch(exist_ok=False)
        except FileExistsError:
            return real(self, program, tests, entry_point)
        return judge.disturbed("a neighbour took it all")

    monkeypatch.setattr(judge.Judge, "grade", disturbed_once)
    asked = [coding.Program(f"{ADD}#{i:02}", ("assert f(1, 2) == 3",), None) for i in range(4)]
    assert dict(coding.grade_all(asked, 2)) == dict.fromkeys(range(4), (RIGHT, ""))


def test_what_is_disturbed_alone_too_is_unknown(runner, quick):
    bomb = "import threading, time\nwhile True:\n    threading.Thread(target=time.sleep, args=(9,)).start()\n"
    ((_, found),) = coding.grade_all([coding.Program(bomb, ("assert f(1, 2) == 3",), None)])
    assert (found.verdict, found.detail[: len(DISTURBED)]) == (UNKNOWN, DISTURBED)


def test_a_sandbox_that_runs_no_program_fails_the_stage(runner, monkeypatch):
    monkeypatch.setattr(judge.Judge, "grade", lambda *_: judge.disturbed("no memory"))
    with pytest.raises(InfrastructureError, match="runs no program: disturbed: no memory"):
        list(coding.grade_all([coding.Program(ADD, ("assert f(1, 2) == 3",), None)]))


REPORT = {"signal": None, "code": 1, "killed_by_us": False, "excess": None, "cpu_seconds": 0.1}


@pytest.mark.parametrize(
    ("found", "report", "verdict"),
    [
        (judge.wrong("ended: its process ended"), {}, WRONG),
        (judge.wrong("ended: its process ended"), {"signal": 9, "code": None}, UNKNOWN),
        (judge.wrong("ended: its answer is no answer"), {"signal": 9, "code": None, "killed_by_us": True}, WRONG),
        (judge.wrong("ended: its process ended"), {"signal": 9, "code": None, "cpu_seconds": 6.0}, WRONG),
        (judge.wrong("raised: RuntimeError: can't start new thread in assert f()"), {}, UNKNOWN),
        (judge.disturbed("it was not started"), {}, UNKNOWN),
        (None, {"signal": 9, "killed_by_us": True, "excess": "it made more than 4096 files"}, WRONG),
    ],
)
def test_only_a_death_of_its_own_doing_is_wrong(found, report, verdict):
    assert judge._explain(found, REPORT | report, in_time=True).verdict is verdict


def test_a_program_that_cannot_be_confined_is_not_wrong(runner, monkeypatch):
    monkeypatch.setattr(judge, "PROGRAM_LIMITS", judge.Limits("no number", 2**20, 2**20))
    found = grade(ADD, "assert f(1, 2) == 3")
    assert (found.verdict, found.detail[: len(DISTURBED)]) == (UNKNOWN, DISTURBED)


def test_a_runner_that_is_gone_for_good_fails_the_stage(runner, monkeypatch, tmp_path):
    monkeypatch.setenv("FUSIONRUN_SANDBOX_SOCKET", str(tmp_path / "nobody.sock"))
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 0.1)
    with pytest.raises(InfrastructureError, match="does not answer"):
        list(coding.grade_all([coding.Program(ADD, ("assert f(1, 2) == 3",), None)]))


def test_without_landlock_nothing_is_confined_unless_a_runtime_class_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(confine, "landlock_version", lambda: 0)
    with pytest.raises(OSError, match="no Landlock"):
        confine._restrict_files(tmp_path, optional=False)
    confine._restrict_files(tmp_path, optional=True)
    for name, optional in (("", False), ("gvisor", True)):
        monkeypatch.setenv("FUSIONRUN_SANDBOX_RUNTIME_CLASS", name)
        assert Judge()._optional == {"landlock_optional": optional}


def test_bombs_make_no_innocent_neighbour_wrong(runner, quick):
    """As in the pod: two at once, one of them hostile most of the time."""
    asked = []
    for number, bomb in enumerate(BOMBS):
        asked.append(coding.Program(bomb, ("assert f() == 1",), None))
        asked += [coding.Program(f"{p}# {number}", (test,), None) for _, p, test in INNOCENTS]
    grades = dict(coding.grade_all(asked, 2))
    innocents = [grades[i] for i, program in enumerate(asked) if program.answer not in BOMBS]
    assert len(innocents) == len(BOMBS) * len(INNOCENTS)
    assert [found for found in innocents if found.verdict is WRONG] == []
    assert sum(found.verdict is RIGHT for found in innocents) >= 0.9 * len(innocents)
    assert RIGHT not in {grades[i].verdict for i, program in enumerate(asked) if program.answer in BOMBS}


def test_many_programs_in_a_row(runner):
    asked = [coding.Program(f"```python\n{ADD}# {i // 2}\n```", ("assert f(1, 2) == 3",), None) for i in range(100)]
    grades = dict(coding.grade_all(asked))
    assert {g.verdict for g in grades.values()} == {RIGHT}
    assert sorted(grades) == list(range(100))


def test_verify_judges_programs_of_a_shard(runner, tmp_path):
    pytest.importorskip("pyarrow")
    answers = {
        "right": f"```python\n{ADD}```",
        "wrong": "def f(a, b): return 0",
        "syntax": "def f(",
        "os": "import os",
        # An error whose text no file can hold, in a call and at load.
        "half": "def f(a, b): raise ValueError('half \\ud83d')",
        "loaded": "def f(a, b): return 3\nraise ValueError('half \\ud83d')",
    }
    fields = {"dataset": "d", "source": "s", "sample_index": 0, "finish_reason": "stop"}
    write_rows(
        tmp_path / "prompts" / "00000-of-00001.parquet",
        Prompt,
        [
            Prompt(prompt_id=n, dataset="d", task="Coding", prompt="?", tests=["assert f(1, 2) == 3"])
            for n in sorted(answers)
        ],
    )
    write_rows(
        tmp_path / "responses" / "00000-of-00001.parquet",
        Response,
        [Response(prompt_id=name, text=text, **fields) for name, text in sorted(answers.items())],
    )
    parameters = VerifyParameters(
        grader=Grader.CODING,
        datasets=["d"],
        source="s",
        prompts_dir=str(tmp_path / "prompts"),
        responses_dir=str(tmp_path / "responses"),
        shards=1,
    )
    task = StageTask(
        run="r", namespace="n", stage="v", digest="x", output_dir=str(tmp_path), shards=1, parameters=parameters
    )
    made = verify.run(Work(task, tmp_path, 0, "uid", lambda *_, **__: None))
    rows = {row.prompt_id: row for row in read_rows(tmp_path / made.files[0], Verdict)}
    assert made.values == Verified(right=1, wrong=5, unknown=0)
    assert made.details["sandbox"] == {"landlock": confine.landlock_version(), "runtime_class": None}
    assert rows["right"].verdict is RIGHT
    assert [rows[name].detail.split(":")[0] for name in ("wrong", "syntax", "os")] == ["failed", "static", "static"]
    assert rows["half"].detail.startswith("raised: ValueError: half \ufffd in ")
    assert rows["loaded"].detail.startswith("not loaded: ValueError: half \ufffd")
