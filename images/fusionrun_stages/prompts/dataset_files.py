"""Data sets as users have them: JSON Lines, JSON, CSV (these also gzipped) or Parquet, one file or a folder of them.

Read as a stream, in bounded memory; every complaint names the file, and the line where there is one.
"""

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from fusionrun_stages.errors import UserError
from fusionrun_stages.volume.parquet import BATCH_ROWS
from fusionrun_stages.volume.paths import inside_volume

GZIP = ".gz"
TEXT_ENDINGS = (".jsonl", ".ndjson", ".json", ".csv")
ENDINGS = (*TEXT_ENDINGS, ".parquet", *(ending + GZIP for ending in TEXT_ENDINGS))
SPLITS = ("train", "test", "validation", "valid", "dev")
HEAD_ROWS = 100
"""Rows looked at for the columns of a file without a schema."""

Row = dict[str, Any]

_NUMBERED = re.compile(r"(?:^|/)(?P<split>[^/]+)-\d{5}-of-\d{5}[^/]*$")
_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")
"""A step of a path: a field, or a place in a list."""


@dataclass(frozen=True)
class DataFile:
    """One file of a data set, wherever it lies."""

    name: str
    open: Callable[[], BinaryIO]

    @property
    def ending(self) -> str:
        """The file's format, by its ending; that a text is gzipped does not count."""
        return PurePosixPath(self.name.removesuffix(GZIP)).suffix

    @contextmanager
    def unpacked(self) -> Iterator[BinaryIO]:
        """Open the file, through gzip where its name says so.

        Raises
        ------
        UserError
            If it is not gzipped, or not whole, though its name says that it is.
        """
        with self.open() as stream:
            if not self.name.endswith(GZIP):
                yield stream
                return
            try:
                with gzip.open(stream) as text:
                    yield text  # type: ignore[misc]
            except (gzip.BadGzipFile, EOFError, zlib.error) as error:
                raise UserError(f"{self.name}: not a whole gzip file: {error}") from error


def local_files(path: Path, split: str) -> list[DataFile]:
    """List the files of a data set on the volume.

    Raises
    ------
    UserError
        If the path does not exist, is of no known format, or is a folder without data files.
    """
    path = inside_volume(path)
    if path.is_file():
        if not path.name.endswith(ENDINGS):
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
    name, set off by non-word characters; all of a numbered file's name before its number is the split
    (``data/train_1M-00000-of-00002.parquet`` is not of split ``train``: OpenMathInstruct-2 has both).
    """
    files = sorted(n for n in names if n.endswith(ENDINGS) and not PurePosixPath(n).name.startswith("."))
    # A model's or tool's own JSON beside the data is no data.
    files = [n for n in files if PurePosixPath(n).name not in ("dataset_infos.json", "dataset_info.json", "state.json")]
    named = {n: _words(n) for n in files}
    wanted = [n for n in files if split in named[n]]
    told = any(words & set(SPLITS) for words in named.values())
    return wanted if wanted or told else files


def _words(name: str) -> set[str]:
    """Return the words of a file's path; of a numbered file's own name, all before its number is one."""
    numbered = _NUMBERED.search(name)
    spaced = name[: numbered.start()] if numbered else name
    return {*re.split(r"[^A-Za-z0-9]+", spaced), *([numbered["split"]] if numbered else [])}


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


def cell(row: Row, column: str) -> Any:
    """Return the value of a column, or of a path such as ``conversations[0].value``; None where nothing is."""
    if column in row:
        return row[column]
    value: Any = row
    for field, place in _STEP.findall(column):
        if place:
            value = value[int(place)] if isinstance(value, list) and int(place) < len(value) else None
        else:
            value = value.get(field) if isinstance(value, dict) else None
    return value


def _present(column: str, names: Iterable[str]) -> str | None:
    """Return the column itself or, for a path, the one that it begins in; None if there is neither."""
    names = set(names)
    if column in names:
        return column
    first = _STEP.match(column)
    root = first[1] if first else None
    return root if root in names else None


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
            if _present(name, columns) is None:
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
    with file.unpacked() as stream:
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
    except RecursionError as error:
        raise UserError(f"{where}: not readable: its JSON is nested too deeply") from error


def _csv_rows(file: DataFile) -> Iterator[tuple[str, Row]]:
    csv.field_size_limit(2**27)
    with file.unpacked() as stream:
        reader = csv.DictReader(io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""))
        try:
            for row in reader:
                yield f"{file.name}:{reader.line_num}", {k: v for k, v in row.items() if k is not None}
        except (csv.Error, UnicodeDecodeError) as error:
            raise UserError(f"{file.name}:{reader.line_num}: not CSV: {error}") from error


def _parquet_rows(file: DataFile, columns: list[str] | None) -> Iterator[tuple[str, Row]]:
    number = 0
    with _parquet(file) as opened:
        names = opened.schema_arrow.names
        wanted = None if columns is None else [n for n in dict.fromkeys(_present(c, names) for c in columns) if n]
        batches = opened.iter_batches(batch_size=BATCH_ROWS, columns=wanted)
        for batch in batches:
            try:
                rows = batch.to_pylist()
            except UnicodeDecodeError as error:
                raise UserError(f"{file.name}: not UTF-8, after row {number}: {error}") from error
            for row in rows:
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
