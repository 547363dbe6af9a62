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
from fusionrun.api.records import Prompt, Response, Verdict
from fusionrun.api.task import StageTask, VerifyParameters
from fusionrun_stages import verify
from fusionrun_stages.errors import UserError
from fusionrun_stages.graders import PROMPT_FAULT, coding
from fusionrun_stages.sandbox import judge, probe
from fusionrun_stages.sandbox.judge import Judge
from fusionrun_stages.shards import read_rows, write_rows
from fusionrun_stages.work import Work
from support.hostile import ADD, ENDED, LOOPHOLES, RIGHT, STOPPED, STYLES, TESTS, UNKNOWN, WRONG, says

ROOT = Path(__file__).parents[2]
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


@pytest.mark.parametrize("attack", [s[1] for s in STOPPED], ids=[s[0] for s in STOPPED])
def test_an_attack_is_stopped(runner, quick, attack):
    assert grade(says(attack), "assert f() == 'stopped'") in ((RIGHT, ""), (WRONG, "ended: by SIGXFSZ"))
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
    assert not list(Path(os.environ["FUSIONRUN_SANDBOX_SOCKET"]).parent.glob("program-*"))


def test_the_judge_goes_on_when_a_handler_dies(runner):
    with closing(Judge()) as judged:
        assert judged.grade(ADD, ("assert f(1, 2) == 3",), None).verdict is RIGHT
        handler = Path(f"/proc/{runner.pid}/task/{runner.pid}/children").read_text().split()[-1]
        os.kill(int(handler), 9)
        assert judged.grade(ADD, ("assert f(1, 2) == 3",), None) == (WRONG, "ended: the runner died with it")
        assert judged.grade(ADD, ("assert f(1, 2) == 3",), None).verdict is RIGHT


def test_many_programs_in_a_row(runner):
    asked = [coding.Program(f"```python\n{ADD}# {i // 2}\n```", ("assert f(1, 2) == 3",), None) for i in range(100)]
    grades = dict(coding.grade_all(asked))
    assert {g.verdict for g in grades.values()} == {RIGHT}
    assert sorted(grades) == list(range(100))


def test_an_open_network_stops_everything(runner, monkeypatch):
    monkeypatch.delenv("FUSIONRUN_SANDBOX_PROBE")
    with pytest.raises(UserError, match="sandboxRuntimeClassName"):
        judge.prove_no_network()


def test_the_probe_cannot_be_switched_off_in_a_pod(runner, monkeypatch):
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    with pytest.raises(UserError):
        judge.prove_no_network()


def test_a_refused_connection_counts_as_reached():
    assert probe.reach([("tcp", "127.0.0.1", 9)]) == ["tcp 127.0.0.1:9"]


def test_verify_judges_programs_of_a_shard(runner, tmp_path):
    pytest.importorskip("pyarrow")
    answers = {"right": f"```python\n{ADD}```", "wrong": "def f(a, b): return 0", "syntax": "def f(", "os": "import os"}
    fields = {"dataset": "d", "source": "s", "sample_index": 0, "finish_reason": "stop"}
    write_rows(
        tmp_path / "prompts" / "00000-of-00001.parquet",
        Prompt,
        [Prompt(prompt_id=n, dataset="d", task="Coding", prompt="?", tests=["assert f(1, 2) == 3"]) for n in answers],
    )
    write_rows(
        tmp_path / "responses" / "00000-of-00001.parquet",
        Response,
        [Response(prompt_id=name, text=text, **fields) for name, text in answers.items()],
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
    assert made.counts == {"right": 1, "wrong": 3, "unknown": 0}
    assert rows["right"].verdict is RIGHT
    assert [rows[name].detail.split(":")[0] for name in ("wrong", "syntax", "os")] == ["failed", "static", "static"]
