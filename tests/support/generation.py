"""Runs of ``generate`` with prompts in two shards, one of them empty."""

from fusionrun.api.records import Prompt, Response
from fusionrun.api.task import StageTask
from fusionrun_stages import generate
from fusionrun_stages.volume.parquet import read_rows, write_rows
from fusionrun_stages.volume.paths import shard_path
from fusionrun_stages.work import Work

PROMPTS = [Prompt(prompt_id=f"{n:016x}", dataset=f"d{n % 2}", task="Instruction", prompt=f"p {n}") for n in range(12)]
SAMPLES = {"d0": 3, "d1": 1}
TOTAL = 6 * 3 + 6


def make_task(tmp_path, url, **fields):
    prompts = tmp_path / "prompts"
    if not prompts.exists():
        write_rows(shard_path(prompts, 0, 2), Prompt, PROMPTS)
        write_rows(shard_path(prompts, 1, 2), Prompt, [])
    parameters = {
        "kind": "generate", "source": "qwen", "base_url": url, "model": "qwen", "prompts_dir": str(prompts),
        "shards": 2,
        "samples_per_prompt": SAMPLES, "concurrency": 4, "stall_seconds": 600, "seed": 42,
        "sampling": {"temperature": 0.7, "top_p": 0.8, "top_k": -1, "repetition_penalty": 1.05, "max_tokens": 64},
    } | fields  # fmt: skip
    return StageTask(
        run="r", namespace="n", stage="generate/qwen", digest="d", output_dir=str(tmp_path / "out"), shards=2,
        parameters=parameters,
    )  # fmt: skip


def run(tmp_path, url, shard=0, uid="pod-a", **fields):
    task = make_task(tmp_path, url, **fields)
    work = Work(task=task, output=tmp_path / "out", shard=shard, pod_uid=uid, report=lambda *a, **k: None)
    return generate.run(work)


def rows(tmp_path, shard=0):
    return list(read_rows(shard_path(tmp_path / "out" / "responses", shard, 2), Response))
