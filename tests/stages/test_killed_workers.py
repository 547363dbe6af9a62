"""Two pods that share the shards of score write the bytes that one pod writes, also if one of them is killed.

The pods are processes with the entry point of the pods, and load a model. One is killed at random times and replaced
until it ends; the other goes on. ``FUSIONRUN_TEST_KILLS`` and ``FUSIONRUN_TEST_SEED``: see ``test_killed``.
"""

import json
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fusionrun.api.results.result import decode_result
from fusionrun.api.results.values import Scored
from fusionrun.api.tasks.task import StageTask, encode_task
from support.forked import forking, killed
from support.http_server import serving
from support.stage import prompt, response, write_inputs
from support.tiny_llama import make_reward_model

KILLS = round(int(os.environ.get("FUSIONRUN_TEST_KILLS", "10")) * 0.3)
SEED = os.environ.get("FUSIONRUN_TEST_SEED", "0")
KILLS_PER_ARTIFACT = 5
SHARDS = 5
PROMPTS = 4
"""Per shard."""
SAMPLES = 8


class Progress(BaseHTTPRequestHandler):
    """Keeps the last progress of each pod, by the path of the request."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.last[self.path] = body["done"] / body["total"]
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        """Print nothing."""


@pytest.fixture(scope="module")
def progress():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Progress)
    server.last = {}
    with serving(server) as url:
        yield url, server.last


@pytest.fixture(scope="module")
def pods():
    with forking({}) as first, forking({}) as second:
        yield first, second


class Stage:
    """score in a folder, on inputs that several of them share."""

    def __init__(self, folder, parameters, workers, pods, progress):
        folder.mkdir()
        self.folder, self.output = folder, folder / "out"
        self._pods, (self._url, self._last) = pods, progress
        self._last.clear()
        self._workers = workers
        self._task = folder / "task.json"
        self._task.write_text(
            encode_task(
                StageTask(
                    run="r", namespace="n", stage="score/s", digest="d", output_dir=str(self.output), shards=SHARDS,
                    workers=workers, parameters=parameters,
                )
            )
        )  # fmt: skip

    def run(self, number, pod_uid, kill_after=None):
        """Run one of the pods; return whether it was killed."""
        log = self.folder / f"log-{number}"
        environment = {
            "FUSIONRUN_TASK": str(self._task), "FUSIONRUN_TERMINATION": str(self.folder / f"termination-{number}"),
            "FUSIONRUN_POD_UID": pod_uid, "JOB_COMPLETION_INDEX": str(number),
            "FUSIONRUN_PROGRESS_URL": f"{self._url}/pod-{number}",
        }  # fmt: skip
        request = {"kind": "score", "environment": environment, "log": str(log)}
        status = self._pods[number](request, kill_after)
        if kill_after is not None and killed(status):
            return True
        assert status == 0, log.read_text()
        return False

    def values(self):
        """Return the results of the pods, as the operator reads them."""
        texts = [(self.folder / f"termination-{number}").read_text() for number in range(self._workers)]
        return [decode_result(text).values for text in texts]

    def progress(self):
        """Return the sum of the last progress of the pods, as the operator shows it."""
        return sum(self._last.values())

    def made(self):
        """Return the bytes of the files, and what the manifests say of them."""
        paths = [path for path in self.output.rglob("*") if path.is_file()]
        files = {str(path.relative_to(self.output)): path.read_bytes() for path in paths}
        manifests = {name: json.loads(files.pop(name)) for name in list(files) if name.startswith("manifests/")}
        return files, {name: (m["files"], m["values"]) for name, m in manifests.items()}


def write_shards(folder, model):
    for shard in range(SHARDS):
        names = [f"p{shard}{i}" for i in range(PROMPTS)]
        prompts = [prompt(name, task="Instruction", prompt=f"Say {name}.") for name in names]
        rows = [response(name, f"{i} " * (1 + 3 * i), i) for name in names for i in range(SAMPLES)]
        inputs = write_inputs(folder, prompts, rows, shard, SHARDS)
    return inputs | {"kind": "score", "source": "s", "model_path": model, "batch_size": 4, "max_length": 200}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_two_pods_of_which_one_is_killed_write_the_bytes_of_one_pod(tmp_path, pods, progress):
    parameters = write_shards(tmp_path, str(make_reward_model(tmp_path / "model")))
    reference = Stage(tmp_path / "reference", parameters, 1, pods, progress)
    began = time.monotonic()
    reference.run(0, "only")
    seconds = time.monotonic() - began
    total = Scored(scored=SHARDS * PROMPTS * SAMPLES)
    assert reference.values() == [total]
    assert reference.progress() == pytest.approx(1.0)
    when, kills, artifacts = random.Random(SEED), 0, 0
    while kills < max(1, KILLS):
        stage = Stage(tmp_path / f"killed-{artifacts}", parameters, 2, pods, progress)
        artifacts += 1
        victim = when.randrange(2)
        with ThreadPoolExecutor(1) as pool:
            undisturbed = pool.submit(stage.run, 1 - victim, "undisturbed")
            kills += run_and_kill(stage, victim, when, seconds)
            undisturbed.result()
        assert stage.made() == reference.made()
        assert sum(values.scored for values in stage.values()) == total.scored
        assert stage.progress() == pytest.approx(1.0)
    print(f"killed {kills} times in {artifacts} artifacts")  # noqa: T201 (pytest -s shows it)


def run_and_kill(stage, number, when, seconds):
    """Start a pod until it succeeds, killing it a few times; return the number of kills."""
    for kills in range(KILLS_PER_ARTIFACT):
        if not stage.run(number, f"pod-{kills}", when.uniform(0.02, 1.0) * seconds):
            return kills
    stage.run(number, "last")
    return KILLS_PER_ARTIFACT
