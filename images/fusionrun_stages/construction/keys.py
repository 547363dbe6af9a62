"""Read what is decided on, one part of a shard at a time: keys, verdicts and scores, never a text."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import polars as pl

from fusionrun.api.data import Task
from fusionrun.api.parameters import SourceInputs
from fusionrun.api.records import VerdictValue
from fusionrun_stages.errors import InfrastructureError, UserError
from fusionrun_stages.grade import PROMPT_FAULT
from fusionrun_stages.volume.paths import inside_volume

KEY = pl.col("prompt_id").str.to_integer(base=16, dtype=pl.UInt64)
"""The 16 hexadecimal digits as a number: a quarter of the memory, and the same order."""

PART_RESPONSES = 1_000_000
"""Responses that are decided on at once, about: some hundred MiB with what is joined to them. A shard that holds more
is cut by the names of its prompts."""


@dataclass(frozen=True)
class Part:
    """A shard, or of a large one the prompts whose names lie in a range. No prompt is in two parts."""

    shard: Path
    names: pl.Expr | None = None
    """The range, said of ``prompt_id``; None is the whole shard."""

    def scan(self, file: Path) -> pl.LazyFrame:
        """Scan a file of this shard. Files are sorted by prompt: row groups outside of the range are not read."""
        rows = pl.scan_parquet(file)
        return rows if self.names is None else rows.filter(self.names)


def parts_of(shard: Path, sources: Sequence[SourceInputs]) -> list[Part]:
    """Cut a shard into parts of about ``PART_RESPONSES`` each, and as many prompts in each as in any other."""
    files = [shard_file(source.responses_dir, shard) for source in sources]
    responses = sum(pl.scan_parquet(file).select(pl.len()).collect().item() for file in files)
    count = -(-responses // PART_RESPONSES)
    if count <= 1:
        return [Part(shard)]
    names = pl.scan_parquet(shard).select("prompt_id").collect().to_series().sort()
    starts = sorted({names[names.len() * number // count] for number in range(1, count) if names.len()})
    if not starts:
        return [Part(shard)]
    name, bounds = pl.col("prompt_id"), [pl.lit(start) for start in starts]
    # The first has no start and the last no end: together they hold every name.
    between = [(name >= start) & (name < end) for start, end in pairwise(bounds)]
    ranges = [name < bounds[0], *between, name >= bounds[-1]]
    return [Part(shard, one) for one in ranges]


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


def read_prompts(part: Part, tasks: dict[str, Task]) -> pl.DataFrame:
    """Read a part's prompts of the given data sets: ``prompt``, ``dataset``, ``task``.

    Raises
    ------
    UserError
        If a prompt's name is not 16 hexadecimal digits.
    """
    wanted = pl.DataFrame({"dataset": list(tasks), "task": [str(task) for task in tasks.values()]})
    prompts = part.scan(part.shard).select("prompt_id", "dataset").join(wanted.lazy(), on="dataset")
    try:
        return prompts.select("dataset", "task", prompt=KEY).collect().unique("prompt").sort("prompt")
    except pl.exceptions.InvalidOperationError as error:
        raise UserError(f"{part.shard}: a prompt_id is not 16 hexadecimal digits") from error


def read_failed_solutions(part: Part, verdicts_dir: str | None) -> pl.DataFrame:
    """Read which of a part's prompts have a solution of their own that is not right: ``prompt``."""
    if verdicts_dir is None:
        return pl.DataFrame(schema={"prompt": pl.UInt64})
    verdicts = part.scan(shard_file(verdicts_dir, part.shard))
    return verdicts.filter(pl.col("verdict") != str(VerdictValue.RIGHT)).select(KEY.alias("prompt")).collect()


def read_candidates(part: Part, sources: Sequence[SourceInputs], prompts: pl.DataFrame) -> pl.DataFrame:
    """Read a part's responses with their verdicts and scores, as ``rules.choose`` wants them.

    Parameters
    ----------
    sources
        Sorted by name: ``source`` is the place in this order.
    prompts
        From ``read_prompts``; responses to other prompts are passed over.
    """
    known = prompts.lazy()
    found = [_read_source(part, source, number).join(known, on="prompt") for number, source in enumerate(sources)]
    return pl.concat(found).collect(engine="streaming")


def _read_source(part: Part, source: SourceInputs, number: int) -> pl.LazyFrame:
    key = ["prompt", "sample"]
    responses = part.scan(shard_file(source.responses_dir, part.shard)).select(
        *_KEY_COLUMNS,
        answered=(pl.col("finish_reason") != "error") & (pl.col("text").str.strip_chars() != ""),
        stopped=pl.col("finish_reason") == "stop",
    )
    scores = part.scan(shard_file(source.scores_dir, part.shard)).select(*_KEY_COLUMNS, score="score_micro")
    candidates = responses.unique(key).join(scores.unique(key), on=key, how="left")
    if source.verdicts_dirs:
        verdicts = pl.concat([_read_verdicts(part, shard_file(one, part.shard)) for one in source.verdicts_dirs])
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


def _read_verdicts(part: Part, file: Path) -> pl.LazyFrame:
    verdict = pl.col("verdict")
    return part.scan(file).select(
        *_KEY_COLUMNS,
        right=verdict == str(VerdictValue.RIGHT),
        wrong=verdict == str(VerdictValue.WRONG),
        fault=pl.col("detail").str.starts_with(PROMPT_FAULT),
    )


_KEY_COLUMNS = [KEY.alias("prompt"), pl.col("sample_index").cast(pl.UInt32).alias("sample")]
