"""Write what construct reads, seeded: N responses of 200 bytes by four sources, five samples of each to every prompt.

Half of the prompts are Instruction, 35 % Mathematics, 15 % Coding; of the responses 3 % were cut and 1 % failed.
"""

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet

from fusionrun.api.artifacts import shard_name
from fusionrun.api.records import Prompt, Response, Score, Verdict
from fusionrun.api.task import ConstructParameters, StageTask
from fusionrun_stages.shards import arrow_schema

SOURCES = ("gemma", "llama", "mistral", "qwen")
SAMPLES = 5
SHARD_RESPONSES = 300_000
TEXT_BYTES = 200
TASKS = {"chat": "Instruction", "sums": "Mathematics", "programs": "Coding"}
SHARES = (0.5, 0.35, 0.15)
WORDS = b"the of and to in is that for it with as was on be by this are from at have an or not sum then so we get "


def write(folder: Path, responses: int, seed: int = 42) -> StageTask:
    """Write the shards unless they are there, and return the task."""
    prompts = responses // (len(SOURCES) * SAMPLES)
    shards = max(1, round(responses / SHARD_RESPONSES))
    parameters = ConstructParameters(
        prompts_dir=str(folder / "prompts"),
        prepare_manifest=str(folder / "prepare.json"),
        tasks=TASKS,
        sources=[
            {
                "source": source,
                "responses_dir": str(folder / "responses" / source),
                "scores_dir": str(folder / "scores" / source),
                "verdicts_dirs": [str(folder / "verdicts" / source)],
            }
            for source in SOURCES
        ],
        reward_margin={"min": 0.01, "max": 0.1},
        sft_fraction=0.4,
        held_out_fraction=0.01,
        seed=seed,
    )
    if not (folder / "prepare.json").exists():
        random = np.random.default_rng(seed)
        for shard in range(shards):
            first, last = prompts * shard // shards, prompts * (shard + 1) // shards
            _write_shard(folder, f"{shard_name(shard, shards)}.parquet", last - first, random)
        (folder / "prepare.json").write_text('{"counts": {}}')  # last: all is there
    return StageTask(
        run="bench", namespace="bench", stage="construct", digest="d", output_dir=str(folder / "out"),
        parameters=parameters,
    )  # fmt: skip


def _write_shard(folder: Path, file: str, prompts: int, random: np.random.Generator) -> None:
    names = np.sort(random.integers(0, 2**64, prompts, dtype=np.uint64))
    ids = pl.Series([f"{name:016x}" for name in names])
    dataset = pl.Series(random.choice(list(TASKS), prompts, p=SHARES))
    task = dataset.replace_strict(TASKS)
    table = pl.DataFrame({"prompt_id": ids, "dataset": dataset, "task": task, "prompt": _texts(prompts, random)})
    _save(table, folder / "prompts" / file, Prompt)
    count = prompts * SAMPLES
    for source in SOURCES:
        ending = random.random(count)
        finish = pl.Series(np.where(ending < 0.01, "error", np.where(ending < 0.04, "length", "stop")))
        keys = pl.DataFrame(
            {
                "prompt_id": ids.gather(np.repeat(np.arange(prompts), SAMPLES)),
                "dataset": dataset.gather(np.repeat(np.arange(prompts), SAMPLES)),
                "source": [source] * count,
                "sample_index": np.tile(np.arange(SAMPLES), prompts),
                "finish_reason": finish,
            }
        )
        text = pl.select(pl.when(finish == "error").then(pl.lit("")).otherwise(_texts(count, random))).to_series()
        tokens = {"prompt_tokens": pl.lit(40), "completion_tokens": pl.lit(50)}
        error = pl.when(finish == "error").then(pl.lit("500: x"))
        _save(keys.with_columns(text=text, error=error, **tokens), folder / "responses" / source / file, Response)
        score = np.round(random.normal(0.15, 0.03, count) * 1e6).astype(np.int64)
        scored = keys.with_columns(score_micro=pl.Series(score)).filter(finish == "stop")
        _save(scored, folder / "scores" / source / file, Score)
        verdict = pl.Series(random.choice(["right", "wrong", "unknown"], count, p=(0.6, 0.38, 0.02)))
        judged = keys.with_columns(verdict=verdict, detail=pl.lit("")).filter(
            (pl.col("dataset") != "chat") & (finish != "error")
        )
        _save(judged, folder / "verdicts" / source / file, Verdict)


def _texts(count: int, random: np.random.Generator) -> pl.Series:
    """Cut texts of 200 bytes out of one long row of common words."""
    words = np.array(WORDS.decode().split())
    long = " ".join(words[random.integers(0, len(words), 400_000)]).encode()
    starts = random.integers(0, len(long) - TEXT_BYTES, count)
    data = np.frombuffer(long, dtype=np.uint8)[starts[:, None] + np.arange(TEXT_BYTES)]
    offsets = np.arange(0, (count + 1) * TEXT_BYTES, TEXT_BYTES, dtype=np.int64)
    return pl.Series(pl.from_arrow(pa.LargeStringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(data))))


def _save(table: pl.DataFrame, path: Path, model: type) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = arrow_schema(model)
    missing = [pl.lit(None).alias(name) for name in schema.names if name not in table.columns]
    whole = table.with_columns(missing).select(schema.names).to_arrow().cast(schema)
    pa.parquet.write_table(whole, path, compression="zstd")
