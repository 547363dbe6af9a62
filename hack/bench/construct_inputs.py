"""Write seeded inputs of construct: N responses of 200 bytes by four sources, with five samples per prompt and source.

Half of the prompts are Instruction, 35 % Mathematics, 15 % Coding; 3 % of the responses are truncated and 1 % failed.
Shards have different seeds and are written one by one, so memory does not grow with the number of responses.
"""

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from fusionrun.api.artifacts import ArtifactManifest, shard_name
from fusionrun.api.records import SCHEMA_VERSION, Prompt, Response, Score, Verdict
from fusionrun.api.results.values import Prepared
from fusionrun.api.tasks.parameters import ConstructParameters
from fusionrun.api.tasks.task import StageTask
from fusionrun_stages.volume.manifest import write_manifest
from fusionrun_stages.volume.parquet import BATCH_ROWS, arrow_schema

SOURCES = ("gemma", "llama", "mistral", "qwen")
SAMPLES = 5
SHARD_RESPONSES = 300_000
TEXT_BYTES = 200
DISK_BYTES = 70
"""Per response, compressed, with its score, verdict and share of a prompt. Measured at 300,000 and 3,000,000."""
TASKS = {"chat": "Instruction", "sums": "Mathematics", "programs": "Coding"}
SHARES = (0.5, 0.35, 0.15)
FINISH_REASONS, FINISH_SHARES = ("error", "length", "stop"), (0.01, 0.03, 0.96)
VERDICTS, VERDICT_SHARES = ("right", "wrong", "unknown"), (0.6, 0.38, 0.02)
WORDS = b"the of and to in is that for it with as was on be by this are from at have an or not sum then so we get "


def write(folder: Path, responses: int, seed: int = 42) -> StageTask:
    """Write the shards unless they exist, and return the task."""
    prompts = responses // (len(SOURCES) * SAMPLES)
    shards = max(1, round(responses / SHARD_RESPONSES))
    parameters = ConstructParameters(
        prompts_dir=str(folder / "prompts"),
        prepare_manifest=str(folder / "manifest.json"),
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
    if not (folder / "manifest.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        size = responses * DISK_BYTES
        print(f"{responses} responses: {size / 1e9:.2f} GB of inputs and at most as much output", flush=True)
        if free < 2 * size:
            raise SystemExit(f"{folder}: only {free / 1e9:.1f} GB are free")
        for shard in range(shards):
            first, last = prompts * shard // shards, prompts * (shard + 1) // shards
            _write_shard(folder, f"{shard_name(shard, shards)}.parquet", last - first, [seed, shard])
        manifest = ArtifactManifest(
            schema_version=SCHEMA_VERSION, stage="prepare/prompts", digest="p", files={}, values=Prepared()
        )
        write_manifest(folder, manifest, None, None)  # last: marks the inputs as complete
    return StageTask(
        run="bench",
        namespace="bench",
        stage="construct",
        digest="d",
        output_dir=str(folder / "out"),
        parameters=parameters,
    )


def _write_shard(folder: Path, file: str, prompts: int, seed: list[int]) -> None:
    random = np.random.default_rng(seed)
    names = np.sort(random.integers(0, 2**64, prompts, dtype=np.uint64))
    ids = _fixed(np.frombuffer(names.astype(">u8").tobytes().hex().encode(), np.uint8), np.full(prompts, 16))
    codes = random.choice(len(TASKS), prompts, p=SHARES)
    of_prompts = {"prompt_id": ids, "dataset": _named(tuple(TASKS), codes)}
    windows = _windows(random)
    text = _texts(windows, np.full(prompts, TEXT_BYTES), random)
    table = of_prompts | {"task": _named(tuple(TASKS.values()), codes), "prompt": text}
    _save(table, folder / "prompts" / file, Prompt)
    each = np.repeat(np.arange(prompts), SAMPLES)
    count = len(each)
    key = {name: column.take(pa.array(each)) for name, column in of_prompts.items()}
    key["sample_index"] = pa.array(np.tile(np.arange(SAMPLES), prompts))
    judged = codes[each] != list(TASKS).index("chat")
    for source in SOURCES:
        key["source"] = _named((source,), np.zeros(count, np.int64))
        ending = random.choice(len(FINISH_REASONS), count, p=FINISH_SHARES)
        failed, stopped = ending == 0, ending == 2
        row = key | {
            "text": _texts(windows, np.where(failed, 0, TEXT_BYTES), random),
            "finish_reason": _named(FINISH_REASONS, ending),
            "error": _named(("500: x", None), (~failed).astype(np.int64)),
            "prompt_tokens": pa.array(np.full(count, 40)),
            "completion_tokens": pa.array(np.full(count, 50)),
        }
        _save(row, folder / "responses" / source / file, Response)
        score = np.round(random.normal(0.15, 0.03, count) * 1e6).astype(np.int64)
        _save(key | {"score_micro": pa.array(score)}, folder / "scores" / source / file, Score, stopped)
        verdict = random.choice(len(VERDICTS), count, p=VERDICT_SHARES)
        row = key | {"verdict": _named(VERDICTS, verdict), "detail": _named(("",), np.zeros(count, np.int64))}
        _save(row, folder / "verdicts" / source / file, Verdict, judged & ~failed)


def _texts(windows: np.ndarray, lengths: np.ndarray, random: np.random.Generator) -> pa.Array:
    """Take random texts of TEXT_BYTES, or empty ones, from the windows of a shard."""
    return _fixed(windows[random.integers(0, len(windows), np.count_nonzero(lengths))], lengths)


def _windows(random: np.random.Generator) -> np.ndarray:
    """Return all windows of TEXT_BYTES of a long random sequence of common words."""
    words = [word + b" " for word in WORDS.split()]
    longest = max(map(len, words))
    letters = np.array([list(word.ljust(longest)) for word in words], np.uint8)
    used = np.arange(longest) < np.array([[len(word)] for word in words])
    drawn = random.integers(0, len(words), 400_000)
    return np.lib.stride_tricks.sliding_window_view(letters[drawn][used[drawn]], TEXT_BYTES)


def _fixed(data: np.ndarray, lengths: np.ndarray) -> pa.Array:
    """Split consecutive bytes into strings of these lengths."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.StringArray.from_buffers(len(lengths), pa.py_buffer(offsets), pa.py_buffer(data))


def _named(names: tuple[str | None, ...], codes: np.ndarray) -> pa.Array:
    return pa.array(names, pa.string()).take(pa.array(codes))


def _save(columns: dict[str, pa.Array], path: Path, model: type, which: np.ndarray | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = arrow_schema(model)
    count = len(columns["prompt_id"])
    arrays = [columns.get(field.name, pa.nulls(count, field.type)) for field in schema]
    table = pa.table(arrays, schema=schema)
    if which is not None:
        table = table.filter(pa.array(which))
    # Row groups as the stages write them. Texts rarely repeat, so they have no dictionary.
    repeated = [name for name in schema.names if name not in {"prompt_id", "text", "prompt", "score_micro"}]
    pa.parquet.write_table(table, path, row_group_size=BATCH_ROWS, compression="zstd", use_dictionary=repeated)
