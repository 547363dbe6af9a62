"""Fetch the texts of what was chosen and write the rows, sorted by prompt, in bounded memory.

What was chosen is gathered part by part of the shards into *ranges* of prompts: files of rows whose prompts lie close
together. Then one range after the other is sorted and appended to the output. So neither the number of shards nor the
order of the prompts in them changes a byte of what is written.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from fusionrun.api.parameters import SourceInputs
from fusionrun.api.records import Row
from fusionrun_stages.construction.keys import KEY, Part, shard_file
from fusionrun_stages.volume.atomic import commit, forget_parts
from fusionrun_stages.volume.parquet import arrow_schema

RANGE_ROWS = 100_000
"""Rows of one range, about: at a few KiB each, some hundred MiB at most."""

HEX_DIGITS = 16


def count_ranges(rows: int) -> int:
    """Return into how many ranges so many rows are parted."""
    return max(1, -(-rows // RANGE_ROWS))


def gather_texts(part: Part, sources: Sequence[SourceInputs], chosen: pl.DataFrame) -> pl.DataFrame:
    """Join the texts to the chosen responses of one part of a shard.

    Parameters
    ----------
    chosen
        ``prompt``, ``source``, ``first`` and ``second`` (samples; second is null for an SFT row), and any others.

    Returns
    -------
    pl.DataFrame
        ``chosen`` with ``text``, ``first_text`` and ``second_text``; ``source`` is the source's name.
    """
    prompts = part.scan(part.shard).select(KEY.alias("prompt"), text="prompt").unique("prompt")
    joined = []
    for number, source in enumerate(sources):
        own = chosen.filter(pl.col("source") == number)
        wanted = pl.concat([own.select("prompt", sample=side) for side in ("first", "second")]).drop_nulls().unique()
        texts = (
            part.scan(shard_file(source.responses_dir, part.shard))
            .select(KEY.alias("prompt"), "text", sample=pl.col("sample_index").cast(pl.UInt32))
            .join(wanted.lazy(), on=["prompt", "sample"], how="semi")
            .collect(engine="streaming")
            .unique(["prompt", "sample"])
        )
        for side in ("first", "second"):
            named = texts.rename({"sample": side, "text": f"{side}_text"})
            own = own.join(named, on=["prompt", side], how="left")
        joined.append(own.with_columns(source=pl.lit(source.source)))
    return pl.concat(joined).join(prompts.collect(engine="streaming"), on="prompt", how="left")


def spill(rows: pl.DataFrame, folder: Path, ranges: int, name: str) -> None:
    """Part rows into ranges by their prompt and write one file for each."""
    numbered = rows.with_columns(range=pl.col("prompt") // 2**32 * ranges // 2**32)
    for (number,), part in numbered.partition_by("range", as_dict=True, include_key=False).items():
        part.write_parquet(folder / f"{number:06d}.{name}.parquet")


def read_ranges(folder: Path, ranges: int) -> Iterator[pl.DataFrame]:
    """Yield the rows of one range after the other, each sorted by its prompt."""
    for number in range(ranges):
        files = sorted(folder.glob(f"{number:06d}.*.parquet"))
        if files:
            yield pl.concat([pl.read_parquet(file) for file in files]).sort("prompt", "kind")


class TableWriter:
    """A Parquet file of one record class, appended to by tables; it appears when it is whole."""

    def __init__(self, path: Path, model: type[Row], pod_uid: str) -> None:
        self._path = path
        self._part = path.with_name(f".{path.name}.{pod_uid}.part")
        self._schema = arrow_schema(model)
        self._writer = pq.ParquetWriter(self._part, self._schema, compression="zstd")

    def append(self, rows: pl.DataFrame) -> None:
        """Add rows whose columns are the record's fields."""
        if rows.height:
            table: pa.Table = rows.select(self._schema.names).to_arrow().cast(self._schema)
            self._writer.write_table(table)

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()
        commit(self._part, self._path)
        forget_parts(self._path)


def build_sft_rows(rows: pl.DataFrame) -> pl.DataFrame:
    """Turn chosen responses with their texts into the fields of ``records.SftExample``."""
    return rows.select(
        "dataset",
        "source",
        prompt_id=_prompt_id(),
        messages=pl.concat_list(_turn("user", "text"), _answer("first_text")),
    )


def build_pairs(rows: pl.DataFrame) -> pl.DataFrame:
    """Turn chosen pairs with their texts into the fields of ``records.PreferencePair``."""
    return rows.select(
        "dataset",
        "source",
        "chosen_score_micro",
        "rejected_score_micro",
        prompt_id=_prompt_id(),
        prompt=pl.concat_list(_turn("user", "text")),
        chosen=pl.concat_list(_answer("first_text")),
        rejected=pl.concat_list(_answer("second_text")),
    )


def _answer(column: str) -> pl.Expr:
    return _turn("assistant", column)


def _turn(role: str, column: str) -> pl.Expr:
    return pl.struct(pl.lit(role).alias("role"), pl.col(column).alias("content"))


def _prompt_id() -> pl.Expr:
    return pl.col("prompt").map_elements(_as_hex, return_dtype=pl.String)


def _as_hex(prompt: Any) -> str:
    return f"{prompt:0{HEX_DIGITS}x}"
