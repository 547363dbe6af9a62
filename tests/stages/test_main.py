"""The entry point: manifest, result, exit codes, lease and signals."""

import hashlib
import json
import logging
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionrun.api.artifacts import ArtifactManifest, decode_manifest, encode_manifest
from fusionrun.api.records import replace_surrogates
from fusionrun.api.results.result import RESULT_MAX_BYTES, STOPPED, Outcome, decode_result
from fusionrun.api.results.values import Fetched
from fusionrun.api.tasks.task import encode_task
from fusionrun_stages import __main__ as entry
from fusionrun_stages.errors import CONTROLS, InfrastructureError, ServerStalledError, UserError, escape_controls
from fusionrun_stages.pod import checkpoint
from fusionrun_stages.pod.log_format import JsonFormatter, LineFormatter
from fusionrun_stages.pod.process import OPEN_FILES, raise_open_files
from fusionrun_stages.work import Made, Work
from support.properties import quick
from support.stage import make_work


def run_main(arguments):
    handler = signal.getsignal(signal.SIGTERM)
    try:
        return entry.main(list(arguments))
    finally:
        signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def pod(tmp_path, monkeypatch):
    """A fetch task in a pod's environment, and a stage module that the test fills in."""
    parameters = {"kind": "fetch", "uri": "hf://a/b", "revision": None, "destination": str(tmp_path / "m")}
    task = make_work(tmp_path / "out", parameters, "fetch/m").task
    (tmp_path / "task.json").write_text(encode_task(task))
    (tmp_path / "termination").write_text("")
    monkeypatch.setenv("FUSIONRUN_TASK", str(tmp_path / "task.json"))
    monkeypatch.setenv("FUSIONRUN_TERMINATION", str(tmp_path / "termination"))
    for name in ("RANK", "LOCAL_RANK", "FUSIONRUN_PROGRESS_URL", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)

    def run_with(program, arguments=("fetch",)):
        module = type(sys)("fusionrun_stages.fetch")
        module.run = program
        monkeypatch.setitem(sys.modules, "fusionrun_stages.fetch", module)
        return run_main(arguments), decode_result((tmp_path / "termination").read_text())

    return run_with


VALUES = Fetched(files=1, bytes=4)


def made_one_file(work: Work) -> Made:
    (work.output / "x").write_text("four")
    return Made(values=VALUES, files=["x"], details={"why": "test"})


def failing(error):
    def fail(work):
        raise error

    return fail


NEVER = failing(AssertionError("the stage must not run"))


def test_success_writes_manifest_and_result(pod, tmp_path):
    code, result = pod(made_one_file)
    manifest = decode_manifest((tmp_path / "out" / "manifest.json").read_bytes(), "fetch")
    assert (code, result.outcome, result.cached) == (0, Outcome.SUCCEEDED, False)
    assert manifest.files == {"x": 4}
    assert manifest.details == {"why": "test"}
    assert manifest.values == result.values == VALUES
    assert manifest.peak_memory_bytes == result.peak_memory_bytes > 1_000_000


def test_a_pod_runs_the_task_with_the_digest_that_its_operator_gave(pod, tmp_path, monkeypatch):
    monkeypatch.setenv("FUSIONRUN_TASK_SHA256", hashlib.sha256((tmp_path / "task.json").read_bytes()).hexdigest())
    assert pod(made_one_file)[0] == 0


def test_a_pod_refuses_a_task_that_somebody_replaced(pod, tmp_path, monkeypatch):
    monkeypatch.setenv("FUSIONRUN_TASK_SHA256", hashlib.sha256((tmp_path / "task.json").read_bytes()).hexdigest())
    task = json.loads((tmp_path / "task.json").read_text())
    (tmp_path / "task.json").write_text(json.dumps(task | {"outputDir": str(tmp_path / "elsewhere")}))
    code, result = pod(NEVER)
    assert (code, result.user_error) == (130, False), "the kubelet may have the task of an earlier pod"
    assert "somebody replaced the ConfigMap of this stage" in result.message
    assert not (tmp_path / "elsewhere").exists()


def test_the_result_of_a_complete_artifact_is_its_manifest(pod):
    pod(made_one_file)
    code, result = pod(NEVER)
    assert (code, result.cached, result.values) == (0, True, VALUES)


def test_a_manifest_of_a_newer_release_is_accepted(pod, tmp_path):
    pod(made_one_file)
    path = tmp_path / "out" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"madeBy": "9.0.0"}))
    assert pod(made_one_file)[1].cached


def test_a_manifest_with_a_truncated_file_is_ignored(pod, tmp_path):
    pod(made_one_file)
    (tmp_path / "out" / "x").write_text("fo")
    assert pod(made_one_file)[1].cached is False


@pytest.mark.parametrize(
    ("error", "code", "user_error", "message"),
    [
        (UserError("datasets[a]: empty"), 2, True, "datasets[a]: empty"),
        (InfrastructureError("server stalled"), 130, False, "server stalled"),
        (MemoryError(), 130, False, "out of memory"),
        (OSError(28, "No space left on device", "/data/x"), 130, False, "no space left on the volume at /data/x"),
        (ValueError("boom"), 130, False, "ValueError: boom (test_main.py:"),
        (UserError("half an emoji \ud83d"), 2, True, "half an emoji \ufffd"),
        (ValueError("\udcff.csv"), 130, False, "ValueError: \ufffd.csv (test_main.py:"),
    ],
)
def test_an_error_becomes_exit_code_and_message(pod, tmp_path, error, code, user_error, message):
    found, result = pod(failing(error))
    assert (found, result.outcome, result.user_error) == (code, Outcome.FAILED, user_error)
    assert message in result.message
    assert not (tmp_path / "out" / "manifest.json").exists()


class StubbornError(RuntimeError):
    """An exception without a text."""

    def __str__(self):
        raise ValueError("no text")


ERRORS = st.sampled_from([UserError, InfrastructureError, ServerStalledError, RuntimeError, KeyError, OSError])
ANY_TEXT = st.text(st.characters(exclude_categories=[]), max_size=40) | st.sampled_from(
    ["", "\0" * 2000, "\\" * 2000, "x" * 5_000_000, "😀" * 5000, "\ud83d" * 3000, "Command '" + "/cc'" * 100_000]
)


@pytest.mark.parametrize(("steps", "newest"), [([], None), ([100, 200], 200)])
def test_a_pod_that_fails_reports_its_newest_checkpoint(pod, monkeypatch, steps, newest):
    monkeypatch.setattr(checkpoint, "_complete", [])

    def train(_):
        for step in steps:
            checkpoint.record(step)
        raise InfrastructureError("lost a peer")

    assert pod(train)[1].checkpoint_step == newest


@quick
@given(ERRORS, st.lists(ANY_TEXT, min_size=1, max_size=3).map("".join), st.booleans())
def test_any_text_of_an_exception_gives_a_termination_message(kind, text, stubborn):
    error = StubbornError() if stubborn else kind(text)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder, "termination")
        patch.setenv("FUSIONRUN_TERMINATION", str(path))
        patch.setattr(entry, "run_stage", failing(error))
        code = run_main(["fetch"])
        content = path.read_bytes()
    result = decode_result(content.decode())
    assert len(content) <= RESULT_MAX_BYTES
    assert (result.outcome, result.user_error) == (Outcome.FAILED, isinstance(error, UserError))
    assert code == getattr(error, "exit_code", 130)
    assert result.server_wedged == (code == 131)
    assert not CONTROLS.search(result.message)
    words = escape_controls(replace_surrogates(text))
    if isinstance(error, UserError | InfrastructureError):
        assert words.startswith(result.message)
        assert bool(result.message) == bool(words)
    elif not stubborn:
        assert result.message.startswith(kind.__name__)
    else:
        assert "StubbornError" in result.message


def test_a_log_line_has_no_control_characters():
    formatter = LineFormatter("%(levelname)s %(message)s")
    forged = "a\nERROR forged\u202e\x1b[31m"
    error = ValueError("in\x1b[2J the\rterminal")
    record = logging.LogRecord("n", logging.ERROR, "p", 1, "row %s", (forged,), (ValueError, error, None))
    assert formatter.format(record).split("\n") == [
        r"ERROR row a\nERROR forged\u202e\x1b[31m",
        r"ValueError: in\x1b[2J the\rterminal",
    ]
    line = JsonFormatter().format(record)
    assert line.isascii()
    assert line.isprintable()
    read = json.loads(line)
    assert (read["severity"], read["logger"], read["message"]) == ("error", "n", f"row {forged}")
    assert "the\rterminal" in read["exc_info"]


@pytest.mark.usefixtures("pod")
def test_the_log_of_a_stage_is_json_if_its_pod_says_so(tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "FUSIONRUN_LOG_FORMAT": "json"}
    command = [sys.executable, "-m", "fusionrun_stages", "unknown"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    (line,) = map(json.loads, done.stderr.splitlines())
    assert line["severity"] == "error"
    assert "usage: python -m fusionrun_stages" in line["message"]


def test_the_soft_limit_of_open_files_is_raised():
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, limits[1]))
        raise_open_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (min(limits[1], OPEN_FILES), limits[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_only_the_first_failing_rank_writes_its_message(pod, tmp_path, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    pod(failing(UserError("the cause")))
    assert pod(failing(RuntimeError("connection closed by peer")))[1].message == "the cause"


def test_only_rank_0_writes_the_manifest(pod, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("LOCAL_RANK", "0")
    (tmp_path / "out" / "lease.json").write_text(json.dumps({"stage": "n/r/fetch/m", "pod_uid": "rank-0"}))
    code, result = pod(made_one_file)
    assert (code, result.outcome) == (0, Outcome.SUCCEEDED)
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert (tmp_path / "out" / "lease.json").exists()


@pytest.mark.parametrize(("rank", "url"), [("0", "http://operator"), ("1", "")])
def test_only_rank_0_sends_its_progress(pod, tmp_path, monkeypatch, rank, url):
    urls = []
    pusher = type("FakePusher", (), {"close": lambda _: None, "__init__": lambda _, to: urls.append(to)})
    monkeypatch.setattr(entry, "Pusher", pusher)
    monkeypatch.setenv("FUSIONRUN_PROGRESS_URL", "http://operator")
    monkeypatch.setenv("RANK", rank)
    (tmp_path / "out" / "lease.json").write_text(json.dumps({"stage": "n/r/fetch/m", "pod_uid": "rank-0"}))
    assert pod(made_one_file)[0] == 0
    assert urls == [url]


def test_a_task_of_another_kind_is_rejected(pod):
    code, result = pod(made_one_file, ["score"])
    assert (code, "the command line has kind score" in result.message) == (130, True)


def test_an_unreadable_task_gives_a_result(pod, tmp_path):
    (tmp_path / "task.json").write_text("{}")
    code, result = pod(made_one_file)
    assert (code, "cannot read" in result.message) == (130, True)


def test_a_long_message_fits_the_termination_message(pod, tmp_path):
    assert pod(failing(UserError("é" * 5000)))[1].outcome is Outcome.FAILED
    assert len((tmp_path / "termination").read_bytes()) <= RESULT_MAX_BYTES


def test_a_failed_stage_releases_its_lease(pod, tmp_path):
    def look(work):
        assert json.loads((work.output / "lease.json").read_text())["stage"] == "n/r/fetch/m"
        raise UserError("x")

    assert pod(look)[1].message == "x"
    assert list((tmp_path / "out").iterdir()) == []


def test_a_pod_of_another_run_waits_for_the_artifact(pod, tmp_path, monkeypatch):
    output = tmp_path / "out"
    (output / "lease.json").write_text(json.dumps({"stage": "n/other/fetch/m", "pod_uid": "theirs"}))
    waited = []

    def make(seconds):
        waited.append(seconds)
        (output / "x").write_text("four")
        manifest = ArtifactManifest(schema_version=1, stage="fetch/m", digest="d", files={"x": 4}, values=VALUES)
        (output / "manifest.json").write_bytes(encode_manifest(manifest))

    monkeypatch.setattr("fusionrun_stages.pod.lease.time.sleep", make)
    code, result = pod(NEVER)
    assert (code, result.cached, result.values) == (0, True, VALUES)
    assert waited
    assert json.loads((output / "lease.json").read_text())["pod_uid"] == "theirs"


@pytest.mark.usefixtures("pod")
def test_sigterm_exits_143_at_once_with_a_message(tmp_path):
    program = tmp_path / "fusionrun_stages_slow.py"
    program.write_text(
        "import sys, time, types\n"
        "module = types.ModuleType('fusionrun_stages.fetch')\n"
        "def run(work):\n"
        "    print('started', flush=True)\n"
        "    time.sleep(60)\n"
        "module.run = run\n"
        "sys.modules['fusionrun_stages.fetch'] = module\n"
        "from fusionrun_stages.__main__ import main\n"
        "sys.exit(main(['fetch']))\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, program], env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"started\n"
        start = time.monotonic()
        process.terminate()
        assert process.wait(5) == 143
        assert time.monotonic() - start < 1
    assert list((tmp_path / "out").iterdir()) == []
    assert decode_result((tmp_path / "termination").read_text()).message == STOPPED
