"""Data sets as users have them: JSON Lines, JSON, Parquet or CSV, one file or a folder of them.

Read as a stream, in bounded memory; every complaint names the file, and the line where there is one.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from fusionrun_stages.errors import UserError
from fusionrun_stages.shards import BATCH_ROWS, inside_volume

ENDINGS = (".jsonl", ".ndjson", ".json", ".parquet", ".csv")
SPLITS = ("train", "test", "validation", "valid", "dev")
HEAD_ROWS = 100
"""Rows looked at for the columns of a file without a schema."""

Row = dict[str, Any]


@dataclass(frozen=True)
class DataFile:
    """One file of a data set, wherever it lies."""

    name: str
    open: Callable[[], BinaryIO]

    @property
    def ending(self) -> str:
        """The file's format, by its ending."""
        return PurePosixPath(self.name).suffix


def local_files(path: Path, split: str) -> list[DataFile]:
    """List the files of a data set on the volume.

    Raises
    ------
    UserError
        If the path does not exist, is of no known format, or is a folder without data files.
    """
    path = inside_volume(path)
    if path.is_file():
        if path.suffix not in ENDINGS:
            raise UserError(f"{str(path)!r}: unknown format {path.suffix!r}: one of {', '.join(ENDINGS)}")
        return [DataFile(path.name, lambda: path.open("rb"))]
    if not path.is_dir():
        raise UserError(f"{str(path)!r}: no such file or folder")
    found = {str(p.relative_to(path)): inside_volume(p) for p in path.rglob("*") if p.is_file()}
    names = split_files(found, split)
    if not names:
        raise UserError(f"{str(path)!r}: no file of split {split!r} ends in {', '.join(ENDINGS)}")
    return [DataFile(name, lambda name=name: found[name].open("rb")) for name in names]  # type: ignore[misc]


def split_files(names: Iterable[str], split: str) -> list[str]:
    """Choose the data files of a split, in order: by their names, or all where no name tells of a split.

    Notes
    -----
    Source: huggingface.co/docs/datasets/repository_structure: a split's name stands in the file's or the folder's
    name, set off by non-word characters (``data/train-00000-of-00002.parquet``).
    """
    files = sorted(n for n in names if n.endswith(ENDINGS) and not PurePosixPath(n).name.startswith("."))
    # A model's or tool's own JSON beside the data is no data.
    files = [n for n in files if PurePosixPath(n).name not in ("dataset_infos.json", "dataset_info.json", "state.json")]
    named = {n: set(re.split(r"[^A-Za-z0-9]+", n)) for n in files}
    wanted = [n for n in files if split in named[n]]
    told = any(words & set(SPLITS) for words in named.values())
    return wanted if wanted or told else files


def column_names(file: DataFile) -> list[str]:
    """Return the columns of a file: of its schema, or of its first rows; empty for an empty file."""
    if file.ending == ".parquet":
        with _parquet(file) as opened:
            names: list[str] = opened.schema_arrow.names
            return names
    columns: dict[str, None] = {}
    for number, (_, row) in enumerate(read_rows([file])):
        columns.update(dict.fromkeys(row))
        if number >= HEAD_ROWS:
            break
    return list(columns)


def check_columns(files: list[DataFile], wanted: Iterable[str]) -> None:
    """Check that the data set is not empty and that its first file with rows has the wanted columns.

    Raises
    ------
    UserError
        Naming the column, the file and the columns that it has.
    """
    for file in files:
        columns = column_names(file)
        if next(read_rows([file]), None) is None:
            continue
        for name in wanted:
            if name not in columns:
                has = ", ".join(columns[:40])
                raise UserError(f"column {name!r}: missing in {file.name}, which has: {has}")
        return
    raise UserError(f"{', '.join(f.name for f in files[:4])!r}: the data set is empty: it has no rows")


def read_rows(files: list[DataFile], columns: list[str] | None = None) -> Iterator[tuple[str, Row]]:
    """Yield every row with where it stands, ``file:line``; of Parquet the wanted columns alone.

    Raises
    ------
    UserError
        If a file is not what its ending says.
    """
    for file in files:
        match file.ending:
            case ".parquet":
                yield from _parquet_rows(file, columns)
            case ".csv":
                yield from _csv_rows(file)
            case _:
                yield from _json_rows(file)


def _json_rows(file: DataFile) -> Iterator[tuple[str, Row]]:
    with file.open() as stream:
        if file.ending == ".json" and stream.read(64).lstrip()[:1] == b"[":
            stream.seek(0)
            values = _parse(stream.read(), file.name)
            numbered: Iterable[tuple[int, Any]] = enumerate(values, 1)
        else:
            stream.seek(0)
            lines = enumerate(stream, 1)
            numbered = ((n, _parse(line, f"{file.name}:{n}")) for n, line in lines if line.strip())
        for number, value in numbered:
            if not isinstance(value, dict):
                raise UserError(f"{file.name}:{number}: a row must be a JSON object, got {str(value)[:40]!r}")
            yield f"{file.name}:{number}", value


def _parse(text: bytes, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:  # a UnicodeDecodeError is one, too
        raise UserError(f"{where}: not JSON: {error}") from error


def _csv_rows(file: DataFile) -> Iterator[tuple[str, Row]]:
    csv.field_size_limit(2**27)
    with file.open() as stream:
        reader = csv.DictReader(io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""))
        try:
            for row in reader:
                yield f"{file.name}:{reader.line_num}", {k: v for k, v in row.items() if k is not None}
        except (csv.Error, UnicodeDecodeError) as error:
            raise UserError(f"{file.name}:{reader.line_num}: not CSV: {error}") from error


def _parquet_rows(file: DataFile, columns: list[str] | None) -> Iterator[tuple[str, Row]]:
    number = 0
    with _parquet(file) as opened:
        batches = opened.iter_batches(batch_size=BATCH_ROWS, columns=columns)
        for batch in batches:
            for row in batch.to_pylist():
                number += 1
                yield f"{file.name}:{number}", row


@contextmanager
def _parquet(file: DataFile) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with file.open() as stream:
        try:
            with pq.ParquetFile(stream) as opened:
                yield opened
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(f"{file.name}: not a whole Parquet file: {str(error)[:200]}") from error


def text_of(value: Any) -> str | None:
    """Return a cell's text: itself, or the first user turn of a conversation; None where there is none."""
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, list):
        for turn in value:
            if isinstance(turn, dict) and (turn.get("role") or turn.get("from")) in ("user", "human"):
                return text_of(turn.get("content") or turn.get("value"))
        return None
    return None if value is None or isinstance(value, dict) else str(value)
