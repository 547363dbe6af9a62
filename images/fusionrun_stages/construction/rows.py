"""Read the texts of the chosen responses and write the rows, sorted by prompt, in bounded memory.

The chosen rows of each slice are partitioned into *ranges* of prompt keys. Then the ranges are sorted and appended to
the output, one after the other. The output does not depend on the number of shards or the order of their prompts.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from fusionrun.api.tasks.parameters import SourceInputs
from fusionrun_stages.construction.files import SFT
from fusionrun_stages.construction.keys import KEY, ShardSlice, shard_file

_MESSAGE = pl.Struct({"role": pl.String, "content": pl.String})
"""``records.Message``."""
RANGE_ROWS = 100_000
"""Approximate rows per range: at most a few hundred MiB at a few KiB per row."""


def count_ranges(rows: int) -> int:
    """Return the number of ranges for this number of rows."""
    return max(1, -(-rows // RANGE_ROWS))


def gather_texts(part: ShardSlice, sources: Sequence[SourceInputs], chosen: pl.DataFrame) -> pl.DataFrame:
    """Join the texts to the chosen responses (``selection.select``) of one slice.

    Return ``chosen`` with ``history`` (the turns before the last; null without any), ``text``, ``first_text`` and
    ``second_text``; ``source`` is now the source's name, and ``source_model`` that of its model.
    """
    shard = part.scan(part.shard)
    has_history = "history" in shard.collect_schema()  # releases up to 0.2.0 did not write it
    history = pl.col("history") if has_history else pl.lit(None, pl.List(_MESSAGE))
    prompts = shard.select(KEY.alias("prompt"), text="prompt", history=history).unique("prompt", keep="any")
    joined = []
    for number, source in enumerate(sources):
        rows = chosen.filter(pl.col("source") == number)
        wanted = pl.concat([rows.select("prompt", sample=side) for side in ("first", "second")]).drop_nulls().unique()
        texts = (
            part.scan(shard_file(source.responses_dir, part.shard))
            .select(KEY.alias("prompt"), "text", sample=pl.col("sample_index").cast(pl.UInt32))
            .join(wanted.lazy(), on=["prompt", "sample"], how="semi")
            .collect(engine="streaming")
            .unique(["prompt", "sample"])
        )
        for side in ("first", "second"):
            renamed = texts.rename({"sample": side, "text": f"{side}_text"})
            rows = rows.join(renamed, on=["prompt", side], how="left")
        names = {"source": source.source, "source_model": source.source_model or source.source}
        joined.append(rows.with_columns(**{column: pl.lit(name) for column, name in names.items()}))
    return pl.concat(joined).join(prompts.collect(engine="streaming"), on="prompt", how="left")


def spill(rows: pl.DataFrame, folder: Path, ranges: int, name: str) -> None:
    """Partition rows into ranges of prompt keys and write one file for each range."""
    numbered = rows.with_columns(range=pl.col("prompt") // 2**32 * ranges // 2**32)
    for (number,), part in numbered.partition_by("range", as_dict=True, include_key=False).items():
        part.write_parquet(folder / f"{number:06d}.{name}.parquet")


def read_ranges(folder: Path, ranges: int) -> Iterator[pl.DataFrame]:
    """Yield the rows of one range after the other, each sorted by prompt."""
    for number in range(ranges):
        files = sorted(folder.glob(f"{number:06d}.*.parquet"))
        if files:
            yield pl.concat([pl.read_parquet(file) for file in files]).sort("prompt", "kind")


def append_rows(writer: Any, kind: str, rows: pl.DataFrame) -> None:
    """Append the rows of one kind, with their texts, to its open Parquet file."""
    rows = rows.filter(pl.col("kind") == kind)
    if rows.height:
        records = build_sft_rows(rows) if kind == SFT else build_pairs(rows)
        writer.write_table(records.select(writer.schema.names).to_arrow().cast(writer.schema))


def build_sft_rows(rows: pl.DataFrame) -> pl.DataFrame:
    """Turn chosen responses with their texts into the fields of ``records.SftExample``."""
    return rows.select(
        "dataset",
        "source",
        "source_model",
        prompt_id=_prompt_id(),
        messages=pl.concat_list(_prompt(), _turn("assistant", "first_text")),
    )


def build_pairs(rows: pl.DataFrame) -> pl.DataFrame:
    """Turn chosen pairs with their texts into the fields of ``records.PreferencePair``."""
    return rows.select(
        "dataset",
        "source",
        "source_model",
        "chosen_score_micro",
        "rejected_score_micro",
        prompt_id=_prompt_id(),
        prompt=_prompt(),
        chosen=pl.concat_list(_turn("assistant", "first_text")),
        rejected=pl.concat_list(_turn("assistant", "second_text")),
    )


def _prompt() -> pl.Expr:
    """Return the messages before the response."""
    last = pl.concat_list(_turn("user", "text"))
    return pl.when(pl.col("history").is_null()).then(last).otherwise(pl.concat_list("history", last))


def _turn(role: str, column: str) -> pl.Expr:
    return pl.struct(pl.lit(role).alias("role"), pl.col(column).alias("content"))


def _prompt_id() -> pl.Expr:
    return pl.col("prompt").map_elements("{:016x}".format, return_dtype=pl.String)
