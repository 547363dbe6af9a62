"""The sandbox's runner as a process. As root it gets another UID, as in the pod."""

import os
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from fusionrun_stages.sandbox import judge

ROOT = Path(__file__).parents[3]
RUNNER_UID = 2000


@pytest.fixture(scope="module")
def runner():
    # Not pytest's folder: each pytest session makes its parent unreadable for other users.
    with tempfile.TemporaryDirectory(prefix="sandbox-") as name:
        folder = Path(name)
        folder.chmod(0o777)
        other_uid = {"user": RUNNER_UID, "group": RUNNER_UID, "extra_groups": []} if os.getuid() == 0 else {}
        python = sys.executable
        if other_uid and not all(parent.stat().st_mode & 1 for parent in Path(python).resolve().parents):
            python = "/usr/bin/python3"  # only root can read this interpreter, and the runner needs no library
        path = f"{ROOT}/operator:{ROOT}/images"
        process = subprocess.Popen(
            [python, "-m", "fusionrun_stages.sandbox.runner", "--socket", str(folder / "runner.sock")],
            env={"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": name, "SECRET": "do not read"},
            stdout=subprocess.PIPE,
            text=True,
            **other_uid,
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
    monkeypatch.setattr(judge, "PROGRAM_LIMITS", judge.ResourceLimits(1, 256 * 2**20, 2**20))


@pytest.fixture
def grade(runner):
    """Return a function that runs one program against its tests."""

    def run(program, *tests, entry_point=None, preamble=""):
        with closing(judge.Judge()) as worker:
            return worker.grade(program, tests, entry_point, preamble)

    return run
