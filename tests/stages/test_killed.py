"""Data stages that are killed at random times write the same bytes as stages that are not killed.

The stages run as processes with the entry point of the pods. They are forked from a process that has imported their
libraries, so that a start takes milliseconds and the kills happen during the work. ``FUSIONRUN_TEST_KILLS`` sets the
number of kills (``make test-kills``: 200), ``FUSIONRUN_TEST_SEED`` their times.
"""

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fusionrun.api.records import Prompt
from fusionrun.api.results.values import Prepared
from fusionrun.api.tasks.task import StageTask, encode_task
from fusionrun_stages.volume.parquet import write_rows
from fusionrun_stages.volume.paths import shard_path
from support.construction import write_prepared
from support.forked import forking, killed
from support.replies import Replies, running
from support.tiny_llama import make_reward_model

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("FUSIONRUN_TEST_KILLS", "10"))
SEED = os.environ.get("FUSIONRUN_TEST_SEED", "0")
KILLS_PER_ARTIFACT = 5

PROMPTS = 12
SAMPLES = 4
DATASETS = {"chat": "Instruction", "sums": "Mathematics", "programs": "Coding"}
SHARES = {"generate/s": 0.3, "verify/s/sums": 0.2, "verify/s/programs": 0.1, "score/s": 0.2, "construct": 0.2}
"""Fraction of the kills by stage."""


class Server(Replies):
    """An OpenAI-compatible server whose response depends only on the question and the seed."""

    def sample(self, body):
        question = body["messages"][-1]["content"]
        digest = hashlib.sha256(f"{question} {body['seed']}".encode()).digest()
        return reply(question, digest), "length" if digest[0] < 16 else "stop"


def reply(question, digest):
    word, number = question.split()
    wrong = digest[1] % 2
    if word == "sum":
        return f"I add, {digest.hex()[:8]}: \\boxed{{{int(number) + wrong}}}"
    if word == "program":
        return f"```python\ndef f(n):  # {digest.hex()[:8]}\n    return n + {int(number) + wrong}\n```"
    return " ".join(digest.hex()[i : i + 4] for i in range(0, digest[2] % 48, 4)) or "yes"


def write_prompts(folder):
    rows = []
    for i in range(PROMPTS):
        rows.append({"dataset": "chat", "prompt": f"chat {i}"})
        rows.append({"dataset": "sums", "prompt": f"sum {i}", "answer": str(i)})
        rows.append({"dataset": "programs", "prompt": f"program {i}", "tests": [f"assert f(1) == {1 + i}"]})
    names = [hashlib.sha256(row["prompt"].encode()).hexdigest()[:16] for row in rows]
    prompts = [
        Prompt(prompt_id=name, task=DATASETS[row["dataset"]], **row) for name, row in zip(names, rows, strict=True)
    ]
    write_rows(shard_path(folder / "prompts", 0, 1), Prompt, sorted(prompts, key=lambda prompt: prompt.prompt_id))
    write_prepared(folder, Prepared())


def plan(folder, model, url):
    """Return the parameters of each stage, in order."""
    inputs = {"promptsDir": str(folder / "prompts"), "shards": 1}
    responses = str(folder / "generate-s" / "responses")
    sampling = {"temperature": 1.0, "topP": 1.0, "topK": -1, "repetitionPenalty": 1.0, "maxTokens": 64}
    verify = {"kind": "verify", "source": "s", "responsesDir": responses} | inputs
    return {
        "generate/s": {
            "kind": "generate", "source": "s", "baseUrl": url, "model": "m", "concurrency": 2, "stallSeconds": 60,
            "seed": 42, "samplesPerPrompt": dict.fromkeys(DATASETS, SAMPLES), "sampling": sampling,
        } | inputs,
        "verify/s/sums": {"grader": "Mathematics", "datasets": ["sums"]} | verify,
        "verify/s/programs": {"grader": "Coding", "datasets": ["programs"]} | verify,
        "score/s": {
            "kind": "score", "source": "s", "modelPath": model, "responsesDir": responses, "batchSize": 4,
            "maxLength": 200,
        } | inputs,
        "construct": {
            "kind": "construct", "promptsDir": inputs["promptsDir"],
            "prepareManifest": str(folder / "prepared" / "manifest.json"),
            "tasks": DATASETS, "rewardMargin": {"min": 0.0, "max": 10.0}, "sftFraction": 0.4, "heldOutFraction": 0.2,
            "seed": 42, "maxKept": {"chat": 9, "programs": 9},
            "sources": [{
                "source": "s", "responsesDir": responses, "scoresDir": str(folder / "score-s" / "scores"),
                "verdictsDirs": [str(folder / f"verify-s-{name}" / "verdicts") for name in ("sums", "programs")],
            }],
        },
    }  # fmt: skip


class Artifacts:
    """A folder with the artifacts of one run of the stages."""

    def __init__(self, folder, model, url, start):
        folder.mkdir()
        self.folder = folder
        self.stages = plan(folder, model, url)
        self._start = start
        write_prompts(folder)

    def output(self, stage):
        return self.folder / stage.replace("/", "-")

    def run(self, stage, pod_uid, kill_after=None):
        """Run a stage; return whether it was killed."""
        parameters = self.stages[stage]
        task = StageTask(
            run="r", namespace="n", stage=stage, digest="d", output_dir=str(self.output(stage)),
            shards=parameters.get("shards"), parameters=parameters,
        )  # fmt: skip
        path = self.folder / "task.json"
        path.write_text(encode_task(task))
        log = self.folder / "log"
        environment = {
            "FUSIONRUN_TASK": str(path), "FUSIONRUN_TERMINATION": str(self.folder / "termination"),
            "FUSIONRUN_POD_UID": pod_uid, "JOB_COMPLETION_INDEX": "0",
        }  # fmt: skip
        status = self._start({"kind": parameters["kind"], "environment": environment, "log": str(log)}, kill_after)
        if kill_after is not None and killed(status):
            return True
        assert status == 0, log.read_text()
        return False

    def made(self, stage):
        """Return the files of the stage, and the files and values of its manifests."""
        folder = self.output(stage)
        files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        names = [name for name in files if name == "manifest.json" or name.startswith("manifests/")]
        manifests = {name: json.loads(files.pop(name)) for name in names}
        contents = {
            name: (m["files"], {k: v for k, v in m["values"].items() if k != "tokensPerSecond"})
            for name, m in manifests.items()
        }
        return files, contents


@pytest.fixture(scope="module")
def url():
    with running(Server()) as server:
        server.delay = 0.03
        yield server.url


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    path = tmp_path_factory.mktemp("sandbox") / "runner.sock"
    environment = {"PYTHONPATH": f"{ROOT}/operator:{ROOT}/images", "TMPDIR": str(path.parent)}
    command = [sys.executable, "-m", "fusionrun_stages.sandbox.runner", "--socket", str(path)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as runner:
        assert "ready" in runner.stdout.readline()
        yield path
        runner.terminate()


@pytest.fixture(scope="module")
def start(sandbox):
    more = {"FUSIONRUN_SANDBOX_SOCKET": str(sandbox), "FUSIONRUN_SANDBOX_PROBE": "off"}
    with forking(more) as run:
        yield run


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_killed_stages_write_the_same_bytes_as_stages_that_are_not_killed(tmp_path, url, start):
    make_reward_model(tmp_path / "model")
    reference = Artifacts(tmp_path / "reference", str(tmp_path / "model"), url, start)
    disturbed = Artifacts(tmp_path / "killed", str(tmp_path / "model"), url, start)
    seconds = {}
    for stage in reference.stages:
        began = time.monotonic()
        reference.run(stage, "only")
        seconds[stage] = time.monotonic() - began
    tally = {}
    for stage, share in SHARES.items():
        when = random.Random(f"{SEED} {stage}")
        tally[stage] = kills = 0
        while not tally[stage] or tally[stage] < round(KILLS * share):
            # Start over, also if it ended before its first kill: a complete artifact is not made again.
            shutil.rmtree(disturbed.output(stage), ignore_errors=True)
            kills = run_and_kill(disturbed, stage, when, seconds[stage])
            tally[stage] += kills
            assert disturbed.made(stage) == reference.made(stage)
    print(f"killed {tally} times")  # noqa: T201 (pytest -s shows it)
    sft, _ = reference.made("construct")
    assert set(sft) == {"sft.parquet", "pairs.parquet", "held-out.parquet", "summary.json"}


def run_and_kill(world, stage, when, seconds):
    """Start a stage until it succeeds, killing it a few times; return the number of kills."""
    kills = 0
    while True:
        spared = kills == KILLS_PER_ARTIFACT
        # Sometimes with the same pod UID: a container that is restarted in its pod.
        if not world.run(stage, when.choice("abc"), None if spared else when.uniform(0.02, 1.0) * seconds):
            return kills
        kills += 1
