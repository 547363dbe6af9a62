"""Read what is decided on, one shard at a time: keys, verdicts and scores, never a text."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from fusionrun.api.data import Task
from fusionrun.api.records import VerdictValue
from fusionrun.api.task import SourceInputs
from fusionrun_stages.errors import InfrastructureError, UserError
from fusionrun_stages.graders import PROMPT_FAULT
from fusionrun_stages.shards import inside_volume

KEY = pl.col("prompt_id").str.to_integer(base=16, dtype=pl.UInt64)
"""The 16 hexadecimal digits as a number: a quarter of the memory, and the same order."""


def shard_files(directory: str) -> list[Path]:
    """List a directory's shards in order.

    Raises
    ------
    InfrastructureError
        If there are none: the stage before must have made them.
    """
    files = sorted(inside_volume(directory).glob("*-of-*.parquet"))
    if not files:
        raise InfrastructureError(f"{directory} holds no shards")
    return [inside_volume(file) for file in files]


def shard_file(directory: str, like: Path) -> Path:
    """Return the file of another directory that answers to a shard of the prompts."""
    file = inside_volume(Path(directory) / like.name)
    if not file.is_file():
        raise InfrastructureError(f"{file} does not exist, but {like} does")
    return file


def read_prompts(shard: Path, tasks: dict[str, Task]) -> pl.DataFrame:
    """Read a shard's prompts of the given data sets: ``prompt``, ``dataset``, ``task``.

    Raises
    ------
    UserError
        If a prompt's name is not 16 hexadecimal digits.
    """
    wanted = pl.DataFrame({"dataset": list(tasks), "task": [str(task) for task in tasks.values()]})
    prompts = pl.scan_parquet(shard).select("prompt_id", "dataset").join(wanted.lazy(), on="dataset")
    try:
        return prompts.select("dataset", "task", prompt=KEY).collect().unique("prompt").sort("prompt")
    except pl.exceptions.InvalidOperationError as error:
        raise UserError(f"{shard}: a prompt_id is not 16 hexadecimal digits") from error


def read_candidates(shard: Path, sources: Sequence[SourceInputs], prompts: pl.DataFrame) -> pl.DataFrame:
    """Read a shard's responses with their verdicts and scores, as ``rules.choose`` wants them.

    Parameters
    ----------
    sources
        Sorted by name: ``source`` is the place in this order.
    prompts
        From ``read_prompts``; responses to other prompts are passed over.
    """
    known = prompts.lazy()
    parts = [_read_source(shard, source, number).join(known, on="prompt") for number, source in enumerate(sources)]
    return pl.concat(parts).collect(engine="streaming")


def _read_source(shard: Path, source: SourceInputs, number: int) -> pl.LazyFrame:
    key = ["prompt", "sample"]
    responses = pl.scan_parquet(shard_file(source.responses_dir, shard)).select(
        *_KEY_COLUMNS,
        answered=(pl.col("finish_reason") != "error") & (pl.col("text").str.strip_chars() != ""),
        stopped=pl.col("finish_reason") == "stop",
    )
    scores = pl.scan_parquet(shard_file(source.scores_dir, shard)).select(*_KEY_COLUMNS, score="score_micro")
    candidates = responses.unique(key).join(scores.unique(key), on=key, how="left")
    if source.verdicts_dirs:
        verdicts = pl.concat([_read_verdicts(shard_file(one, shard)) for one in source.verdicts_dirs])
        candidates = candidates.join(verdicts.unique(key), on=key, how="left")
    else:
        candidates = candidates.with_columns(pl.lit(value=False).alias(name) for name in ("right", "wrong", "fault"))
    return candidates.select(
        "prompt",
        "sample",
        "answered",
        "score",
        source=pl.lit(number, pl.UInt8),
        finished=pl.col("answered") & pl.col("stopped"),
        right=pl.col("right").fill_null(value=False),
        wrong=pl.col("wrong").fill_null(value=False),
        fault=pl.col("fault").fill_null(value=False),
    )


def _read_verdicts(file: Path) -> pl.LazyFrame:
    verdict = pl.col("verdict")
    return pl.scan_parquet(file).select(
        *_KEY_COLUMNS,
        right=verdict == str(VerdictValue.RIGHT),
        wrong=verdict == str(VerdictValue.WRONG),
        fault=pl.col("detail").str.starts_with(PROMPT_FAULT),
    )


_KEY_COLUMNS = [KEY.alias("prompt"), pl.col("sample_index").cast(pl.UInt32).alias("sample")]
