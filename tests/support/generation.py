"""Runs of ``generate`` with prompts in two shards, one of them empty."""

import os
import subprocess
import sys

from fusionrun.api.records import Prompt, Response
from fusionrun.api.tasks.task import encode_task
from fusionrun_stages import generate
from fusionrun_stages.volume.parquet import read_rows, write_rows
from fusionrun_stages.volume.paths import shard_path
from support.stage import make_work

PROMPTS = [Prompt(prompt_id=f"{n:016x}", dataset=f"d{n % 2}", task="Instruction", prompt=f"p {n}") for n in range(12)]
SAMPLES = {"d0": 3, "d1": 1}
TOTAL = 6 * 3 + 6


def make_generation(tmp_path, url, shard=0, uid="pod-a", **fields):
    prompts = tmp_path / "prompts"
    if not prompts.exists():
        write_rows(shard_path(prompts, 0, 2), Prompt, PROMPTS)
        write_rows(shard_path(prompts, 1, 2), Prompt, [])
    parameters = {
        "kind": "generate", "source": "qwen", "base_url": url, "model": "qwen", "prompts_dir": str(prompts),
        "shards": 2, "samples_per_prompt": SAMPLES, "concurrency": 4, "stall_seconds": 600, "seed": 42,
        "sampling": {"temperature": 0.7, "top_p": 0.8, "top_k": -1, "repetition_penalty": 1.05, "max_tokens": 64},
    }  # fmt: skip
    return make_work(tmp_path / "out", parameters | fields, "generate/qwen", shard=shard, uid=uid)


def run(tmp_path, url, shard=0, uid="pod-a", **fields):
    return generate.run(make_generation(tmp_path, url, shard, uid, **fields))


def rows(tmp_path, shard=0):
    return list(read_rows(shard_path(tmp_path / "out" / "responses", shard, 2), Response))


def count_stored(tmp_path):
    """Return the number of samples in the file of the only pod that did not finish."""
    (part,) = (tmp_path / "out" / "parts").iterdir()
    return part.read_bytes().count(b"\n")


def run_successor(tmp_path, server, **fields):
    """Run another pod; check that it requests only the samples that are not stored."""
    stored = count_stored(tmp_path)
    server.hanging.set()
    server.plan = lambda body, number: None
    server.requests.clear()
    assert run(tmp_path, server.url, uid="pod-b", **fields).values.responses == TOTAL
    assert sum(body["n"] for _, _, body in server.requests) == TOTAL - stored


def reply_to(prompt, reply):
    """Plan a reply to one prompt."""
    return lambda body, number: reply if body["messages"][0]["content"] == prompt else None


def error(status, message, **more):
    """Plan an error reply with a message."""
    return status, {}, {"error": {"message": message} | more}


def start_pod(folder, uid, task, *command):
    """Start the first shard of a generation, or what the command says, in a process of its own."""
    (folder / f"{uid}.json").write_text(encode_task(task))
    environment = os.environ | {
        "FUSIONRUN_TASK": str(folder / f"{uid}.json"),
        "FUSIONRUN_TERMINATION": str(folder / f"{uid}.termination"),
        "FUSIONRUN_POD_UID": uid,
        "JOB_COMPLETION_INDEX": "0",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    return subprocess.Popen([sys.executable, "-m", *(command or ("fusionrun_stages", "generate"))], env=environment)
