"""A training as a run of a real MLflow server, on this machine: ``make test-mlflow``.

FUSIONRUN_MLFLOW is the path of the program ``mlflow`` (of ``pip install mlflow``, in an environment of its own).
"""

import json
import os
import socket
import subprocess
import time
import urllib.request
from types import SimpleNamespace

import pytest

from fusionrun.api.tasks.training import MlflowParameters
from fusionrun_stages.training import mlflow_run
from fusionrun_stages.training.mlflow_run import MlflowRun
from fusionrun_stages.training.trackers import Entry

pytestmark = pytest.mark.skipif("FUSIONRUN_MLFLOW" not in os.environ, reason="FUSIONRUN_MLFLOW is not set")


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Let requests take a minute: the machine of a test may be busy."""
    monkeypatch.setattr(mlflow_run, "TIMEOUT_SECONDS", 60.0)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [os.environ["FUSIONRUN_MLFLOW"], "server", "--host=127.0.0.1", f"--port={port}", "--workers=1"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, f"--backend-store-uri=sqlite:///{folder}/store.db"], cwd=folder, stdout=log, stderr=log
        )
    try:
        for _ in range(600):
            assert process.poll() is None, (folder / "log").read_text()
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
                break
            except OSError:
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(120)


def call(server, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{server}/api/2.0/mlflow/{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.load(reply)


def runs_of(server, experiment):
    name = urllib.request.quote(experiment, safe="")
    found = call(server, f"experiments/get-by-name?experiment_name={name}")["experiment"]
    return call(server, "runs/search", {"experiment_ids": [found["experiment_id"]]})["runs"]


def losses(server, run):
    history = call(server, f"metrics/get-history?run_id={run['info']['run_id']}&metric_key=loss")["metrics"]
    return [(m["step"], m["value"]) for m in sorted(history, key=lambda m: m["step"])]


def test_a_training_and_its_retry_are_one_run(server):
    task = SimpleNamespace(run="tiny", namespace="lab", stage="sft", digest="d" * 20)
    settings = MlflowParameters(tracking_uri=f"{server}/", experiment="team a/tiny")
    entries = [Entry(step, 1_700_000_000_000 + step, {"loss": 1.0 / step, "mfu": 0.4}) for step in range(1, 601)]

    first = MlflowRun(settings, task, {"learningRate": "1e-06"})
    first.send(entries[:600])  # two requests: a request has at most 1,000 metrics
    first.send(entries[598:600])  # sent again after a lost reply
    again = MlflowRun(settings, task, {"learningRate": "2e-06"})
    again.send([Entry(601, 1_700_000_000_601, {"loss": 0.001})])
    again.close(succeeded=True)

    (run,) = runs_of(server, "team a/tiny")
    assert (run["info"]["status"], run["info"]["run_name"]) == ("FINISHED", "tiny/sft")
    assert run["data"]["params"] == [{"key": "learningRate", "value": "1e-06"}]
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    assert (tags["fusionrun.namespace"], tags["fusionrun.digest"]) == ("lab", "d" * 20)
    assert losses(server, run) == [(e.step, e.numbers["loss"]) for e in entries] + [(601, 0.001)]


def test_a_failed_training_is_a_failed_run_and_another_artifact_another_run(server):
    settings = MlflowParameters(tracking_uri=server, experiment="failures")
    for digest in ("a" * 20, "b" * 20):
        task = SimpleNamespace(run="tiny", namespace="lab", stage="dpo", digest=digest)
        run = MlflowRun(settings, task, {})
        run.send([Entry(1, 1_700_000_000_000, {"loss": 0.7})])
        run.close(succeeded=digest.startswith("a"))
    assert sorted(run["info"]["status"] for run in runs_of(server, "failures")) == ["FAILED", "FINISHED"]
