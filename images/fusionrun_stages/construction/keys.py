"""Read keys, verdicts and scores, without texts, one slice of a shard at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import polars as pl

from fusionrun.api.records import VerdictValue
from fusionrun.api.spec.data import Task
from fusionrun.api.tasks.parameters import SourceInputs
from fusionrun_stages.errors import InfrastructureError, UserError
from fusionrun_stages.grade import MISSING_PATTERN, PROMPT_FAULT
from fusionrun_stages.volume.paths import inside_volume

KEY = pl.col("prompt_id").str.to_integer(base=16, dtype=pl.UInt64)
"""The 16 hexadecimal digits as a number, which sorts the same and takes a quarter of the memory."""

SLICE_RESPONSES = 1_000_000
"""Approximate responses per slice: a few hundred MiB with the columns joined to them."""


@dataclass(frozen=True)
class ShardSlice:
    """A shard or, if it is large, the prompts in a range of prompt identifiers. Slices are disjoint."""

    shard: Path
    prompt_ids: pl.Expr | None = None
    """Condition on ``prompt_id``; None for the whole shard."""

    def scan(self, file: Path) -> pl.LazyFrame:
        """Scan a file of this shard. Files are sorted by prompt: row groups outside of the range are not read."""
        rows = pl.scan_parquet(file)
        return rows if self.prompt_ids is None else rows.filter(self.prompt_ids)


def slice_shard(shard: Path, sources: Sequence[SourceInputs]) -> list[ShardSlice]:
    """Divide a shard into slices of about ``SLICE_RESPONSES`` each, with equal numbers of prompts."""
    files = [shard_file(source.responses_dir, shard) for source in sources]
    responses = sum(pl.scan_parquet(file).select(pl.len()).collect().item() for file in files)
    count = -(-responses // SLICE_RESPONSES)
    if count <= 1:
        return [ShardSlice(shard)]
    ids = pl.scan_parquet(shard).select("prompt_id").collect().to_series().sort()
    starts = sorted({ids[ids.len() * number // count] for number in range(1, count) if ids.len()})
    if not starts:
        return [ShardSlice(shard)]
    prompt_id, bounds = pl.col("prompt_id"), [pl.lit(start) for start in starts]
    # The first range has no start and the last no end: together they contain every identifier.
    between = [(prompt_id >= start) & (prompt_id < end) for start, end in pairwise(bounds)]
    ranges = [prompt_id < bounds[0], *between, prompt_id >= bounds[-1]]
    return [ShardSlice(shard, prompt_ids) for prompt_ids in ranges]


def shard_files(directory: str) -> list[Path]:
    """List a directory's shards in order; raise InfrastructureError if there are none."""
    files = sorted(inside_volume(directory).glob("*-of-*.parquet"))
    if not files:
        raise InfrastructureError(f"{directory} has no shards")
    return [inside_volume(file) for file in files]


def shard_file(directory: str, like: Path) -> Path:
    """Return the file of the shard ``like`` in another directory."""
    file = inside_volume(Path(directory) / like.name)
    if not file.is_file():
        raise InfrastructureError(f"{file} does not exist, but {like} does")
    return file


def read_prompts(part: ShardSlice, tasks: dict[str, Task]) -> pl.DataFrame:
    """Read the prompts of a slice: ``prompt``, ``dataset``, ``task``. ``tasks`` has the data sets to read.

    Raise UserError if a ``prompt_id`` is not 16 hexadecimal digits.
    """
    wanted = pl.DataFrame({"dataset": list(tasks), "task": [str(task) for task in tasks.values()]})
    prompts = part.scan(part.shard).select("prompt_id", "dataset").join(wanted.lazy(), on="dataset")
    try:
        return prompts.select("dataset", "task", prompt=KEY).collect().unique("prompt").sort("prompt")
    except pl.exceptions.InvalidOperationError as error:
        raise UserError(f"{part.shard}: a prompt_id is not 16 hexadecimal digits") from error


def read_failed_solutions(part: ShardSlice, verdicts_dir: str | None) -> pl.DataFrame:
    """Read the prompts of a slice whose reference solution is not right: ``prompt``."""
    if verdicts_dir is None:
        return pl.DataFrame(schema={"prompt": pl.UInt64})
    verdicts = part.scan(shard_file(verdicts_dir, part.shard))
    return verdicts.filter(pl.col("verdict") != str(VerdictValue.RIGHT)).select(KEY.alias("prompt")).collect()


def read_candidates(part: ShardSlice, sources: Sequence[SourceInputs], prompts: pl.DataFrame) -> pl.DataFrame:
    """Read the responses to ``prompts`` in a slice with their verdicts and scores: the columns of ``rules.choose``.

    ``sources`` are sorted by name; the column ``source`` is the index.
    """
    frames = [_read_source(part, source, i).join(prompts.lazy(), on="prompt") for i, source in enumerate(sources)]
    return pl.concat(frames).collect(engine="streaming")


def _read_source(part: ShardSlice, source: SourceInputs, number: int) -> pl.LazyFrame:
    key = ["prompt", "sample"]
    reason, has_text = pl.col("finish_reason"), pl.col("text").str.strip_chars() != ""
    responses = part.scan(shard_file(source.responses_dir, part.shard)).select(
        *_KEY_COLUMNS,
        # A model that reached its token limit while it reasoned has no text, but it has answered.
        answered=(reason == "length") | ((reason != "error") & has_text),
        stopped=reason == "stop",
    )
    scores = part.scan(shard_file(source.scores_dir, part.shard)).select(*_KEY_COLUMNS, score="score_micro")
    candidates = responses.unique(key).join(scores.unique(key), on=key, how="left")
    if source.verdicts_dirs:
        verdicts = pl.concat([_read_verdicts(part, directory) for directory in source.verdicts_dirs])
        candidates = candidates.join(verdicts.unique(key), on=key, how="left")
    else:
        candidates = candidates.with_columns(
            *(pl.lit(value=False).alias(name) for name in ("right", "wrong", "fault")),
            pl.lit(None, pl.String).alias("missing"),
        )
    return candidates.select(
        "prompt",
        "sample",
        "answered",
        "score",
        "missing",
        source=pl.lit(number, pl.UInt8),
        finished=pl.col("answered") & pl.col("stopped"),
        **{name: pl.col(name).fill_null(value=False) for name in ("right", "wrong", "fault")},
    )


def _read_verdicts(part: ShardSlice, directory: str) -> pl.LazyFrame:
    verdict = pl.col("verdict")
    return part.scan(shard_file(directory, part.shard)).select(
        *_KEY_COLUMNS,
        right=verdict == str(VerdictValue.RIGHT),
        wrong=verdict == str(VerdictValue.WRONG),
        fault=pl.col("detail").str.starts_with(PROMPT_FAULT),
        missing=pl.col("detail").str.extract(MISSING_PATTERN),
    )


_KEY_COLUMNS = [KEY.alias("prompt"), pl.col("sample_index").cast(pl.UInt32).alias("sample")]
