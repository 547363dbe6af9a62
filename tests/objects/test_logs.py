"""The output of a container is copied to the claim, and the container behaves as without the copy."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fusionrun.objects import logs

POD = {"HOSTNAME": "pod-0", "FUSIONRUN_POD_UID": "01234567-89ab", "PATH": "/usr/bin:/bin"}


def start(directory: Path, program: str) -> subprocess.Popen[str]:
    """Start a Python program as a container with a log directory does."""
    workload = {
        "kind": "Job",
        "spec": {"template": {"spec": {"containers": [{"command": [sys.executable, "-uc", program]}]}}},
    }
    logs.copy_to_claim([workload], str(directory / "logs"))
    command = workload["spec"]["template"]["spec"]["containers"][0]["command"]
    return subprocess.Popen(command, env=POD, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def log_of(directory: Path) -> str:
    """Return the content of the only log file."""
    (file,) = (directory / "logs").iterdir()
    assert file.name == "pod-0-01234567.log"
    return file.read_text()


@pytest.mark.parametrize(
    ("program", "code", "text"),
    [
        ("import sys; print('out'); print('err', file=sys.stderr); sys.exit(2)", 2, "out\nerr\n"),
        ("print('done')", 0, "done\n"),
        ("import os, signal; print('last'); os.kill(os.getpid(), signal.SIGKILL)", 137, "last\n"),
        (  # a process that is left behind keeps the output open, and does not keep the container
            "import subprocess; print('x'); subprocess.Popen(['sleep', '60']); raise SystemExit(130)",
            130,
            "x\n",
        ),
    ],
    ids=["error", "success", "killed", "left-behind"],
)
def test_output_and_exit_code_are_those_of_the_command(tmp_path, monkeypatch, program, code, text):
    monkeypatch.setattr(logs, "_COPY_OUTPUT", logs._COPY_OUTPUT.replace("tenth < 50", "tenth < 3"))
    with start(tmp_path, program) as process:
        assert process.stdout.read(len(text)) == text
        assert process.wait() == code
    assert log_of(tmp_path) == text


def test_sigterm_reaches_the_command(tmp_path):
    program = (
        "import signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('saved'), sys.exit(143)))\n"
        "print('started')\n"
        "signal.pause()\n"
    )
    with start(tmp_path, program) as process:
        assert process.stdout.readline() == "started\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "saved\n"
        assert process.wait() == 143
    assert log_of(tmp_path) == "started\nsaved\n"


def test_the_exit_code_is_that_of_a_command_that_ends_right_after_sigterm(tmp_path, monkeypatch):
    program = "import os, signal; signal.signal(signal.SIGTERM, lambda *_: os._exit(5)); print('x'); signal.pause()"
    slow = logs._COPY_OUTPUT.replace("while kill -0", "sleep 0.5\nwhile kill -0")
    monkeypatch.setattr(logs, "_COPY_OUTPUT", slow)
    with start(tmp_path, program) as process:
        assert process.stdout.readline() == "x\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 5


def test_sigterm_before_the_command_starts_ends_the_container(tmp_path, monkeypatch):
    waiting = logs._COPY_OUTPUT.replace("log=", "echo waiting; sleep 0.2\nlog=", 1)
    monkeypatch.setattr(logs, "_COPY_OUTPUT", waiting)
    with start(tmp_path, "print('started')") as process:
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGTERM)
        assert (process.communicate()[0], process.returncode) == ("", 143)


def test_a_log_file_is_bounded_and_the_output_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(logs, "_COPY_OUTPUT", logs._COPY_OUTPUT.replace(f"-f {logs.LOG_KIBIBYTES}", "-f 4"))
    with start(tmp_path, "print('x' * 200_000); print('end')") as process:
        assert process.communicate()[0].endswith("x\nend\n")
        assert process.returncode == 0
    assert log_of(tmp_path) == "x" * 4096


def test_a_directory_that_cannot_be_made_changes_nothing_else(tmp_path):
    (tmp_path / "file").touch()
    with start(tmp_path / "file", "print('works')") as process:
        output, errors = process.communicate()
    assert (process.returncode, output) == (0, "works\n")
    assert "cannot create directory" in errors


def test_the_successor_of_a_pod_with_the_same_name_appends(tmp_path):
    for text in ("first", "second"):
        with start(tmp_path, f"print('{text}')") as process:
            process.communicate()
    assert log_of(tmp_path) == "first\nsecond\n"
