"""Trackers: what they get, and that one that is down neither delays nor fails the training."""

import logging
import threading
import time
from types import SimpleNamespace

import pytest
from tensorboardX.proto import event_pb2

from fusionrun.api.spec.training import Tracker as TrackerName
from fusionrun.api.tasks.training import MlflowParameters, SftParameters
from fusionrun_stages.training import trackers as module
from fusionrun_stages.training.mlflow_run import MlflowRun
from fusionrun_stages.training.trackers import Entry, Sender, Trackers, hyperparameters, open_trackers
from support.event_files import events
from support.tiny_llama import train_parameters

TASK = SimpleNamespace(run="tiny", namespace="lab", stage="sft", digest="d" * 20)


class Recorder:
    """A tracker that fails the first ``failures`` times, or waits until ``released``."""

    def __init__(self, failures=0, *, waits=False):
        self.steps, self.ended = [], None
        self.failures, self.waits, self.released = failures, waits, threading.Event()

    def send(self, entries):
        if self.waits:
            self.released.wait()
        if self.failures:
            self.failures -= 1
            raise ConnectionRefusedError("nothing listens")
        self.steps += [entry.step for entry in entries]

    def close(self, *, succeeded):
        self.ended = succeeded


@pytest.fixture
def short_times(monkeypatch):
    for name in ("RETRY_SECONDS", "SEND_SECONDS"):
        monkeypatch.setattr(module, name, 0.01)
    monkeypatch.setattr(module, "CLOSE_SECONDS", 2.0)


def follow(recorder, steps=5):
    trackers = Trackers([Sender("MLflow", recorder)])
    for step in range(1, steps + 1):
        trackers.log(step, {"loss": 1.0 / step})
    trackers.close(succeeded=True)


def test_a_tracker_gets_every_step_once_and_the_end(short_times):
    recorder = Recorder()
    follow(recorder)
    assert (recorder.steps, recorder.ended) == ([1, 2, 3, 4, 5], True)


def test_steps_that_a_tracker_refused_are_sent_again_with_one_warning(short_times, caplog):
    recorder = Recorder(failures=2)
    trackers = Trackers([Sender("MLflow", recorder)])
    trackers.log(1, {"loss": 1.0})
    until(lambda: recorder.steps)
    trackers.log(2, {"loss": 0.5})
    trackers.close(succeeded=True)
    assert recorder.steps == [1, 2]
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert warnings == ["MLflow does not take the numbers of this training, which continues: nothing listens"]


def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_tracker_that_hangs_delays_neither_the_steps_nor_for_long_the_end(short_times, caplog):
    recorder, other = Recorder(waits=True), Recorder()
    trackers = Trackers([Sender("MLflow", recorder), Sender("TensorBoard", other)])
    started = time.monotonic()
    for step in range(1000):
        trackers.log(step, {"loss": 1.0})
    assert time.monotonic() - started < 1.5
    trackers.close(succeeded=True)
    assert time.monotonic() - started < 2.0 + 2.5
    assert other.steps == list(range(1000))
    assert "MLflow: the last steps were not sent" in caplog.text
    recorder.released.set()


def test_the_steps_of_a_tracker_that_is_down_have_a_limit(short_times, monkeypatch):
    monkeypatch.setattr(module, "KEPT_ENTRIES", 3)
    recorder = Recorder(waits=True)
    sender = Sender("MLflow", recorder)
    for step in range(10):
        sender.put(Entry(step, step, {}))
    recorder.released.set()
    sender.end(succeeded=False)
    sender.join(5)
    assert recorder.steps[-3:] == [7, 8, 9]
    assert recorder.ended is False


def test_a_number_that_is_not_finite_is_left_out(short_times):
    recorder, sent = Recorder(), []
    recorder.send = sent.extend
    trackers = Trackers([Sender("MLflow", recorder)])
    trackers.log(1, {"loss": 1.0, "gradient_norm": float("nan"), "reward_margin": float("inf")})
    trackers.close(succeeded=True)
    assert [entry.numbers for entry in sent] == [{"loss": 1.0}]


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no-such-host.invalid"], ids=["refused", "unknown"])
def test_a_training_without_its_mlflow_server_only_warns(short_times, caplog, address):
    settings = MlflowParameters(tracking_uri=f"http://{address}", experiment="e")
    follow(MlflowRun(settings, TASK, {}))
    assert "MLflow does not take the numbers of this training, which continues" in caplog.text


def parameters_of(**changed):
    return SftParameters.model_validate(train_parameters("sft", "m", "d", **changed))


def test_tensorboard_files_are_with_the_logs_of_the_artifact(tmp_path, short_times):
    work = SimpleNamespace(output=tmp_path, task=TASK)
    parameters = parameters_of(reportTo=[TrackerName.TENSORBOARD])
    for start in (1, 3):  # the second attempt resumes after step 2
        with open_trackers(work, parameters) as trackers:
            for step in range(start, start + 3):
                trackers.log(step, {"loss": 1.0 / step})
    first, second = (list(events(path)) for path in sorted((tmp_path / "logs/tensorboard").iterdir()))
    assert [(e.step, v.tag, round(v.simple_value, 4)) for e in second for v in e.summary.value] == [
        (3, "train/loss", 0.3333), (4, "train/loss", 0.25), (5, "train/loss", 0.2),
    ]  # fmt: skip
    assert [e.step for e in first if e.summary.value] == [1, 2, 3]
    assert [e.step for e in second if e.session_log.status == event_pb2.SessionLog.START] == [3], "hides the old step 3"


def test_only_rank_0_reports(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with open_trackers(
        SimpleNamespace(output=tmp_path, task=TASK), parameters_of(reportTo=["TensorBoard"])
    ) as trackers:
        trackers.log(1, {"loss": 1.0})
    assert not list(tmp_path.iterdir())


def test_hyperparameters_have_no_paths_and_no_addresses():
    given = parameters_of(reportTo=["MLflow"], mlflow={"trackingUri": "http://u", "experiment": "e"})
    values = hyperparameters(given)
    assert values["learningRate"] == "0.001"
    assert not {"modelPath", "dataPath", "mlflow", "reportTo", "kind"} & set(values)
