"""Files of a data set: JSON Lines, JSON, CSV (these also gzipped) or Parquet, one file or a folder of them.

Rows are streamed in bounded memory. Every error names the file, and the line if the format has lines.
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
TEXT_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv")
SUFFIXES = (*TEXT_SUFFIXES, ".parquet", *(suffix + GZIP for suffix in TEXT_SUFFIXES))
SPLITS = ("train", "test", "validation", "valid", "dev")
HEAD_ROWS = 100
"""Number of rows that determine the columns of a file without a schema."""

RawRow = dict[str, Any]

_NUMBERED = re.compile(r"(?:^|/)(?P<split>[^/]+)-\d{5}-of-\d{5}[^/]*$")
_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")
"""A step of a path: a field, or an index of a list."""


@dataclass(frozen=True)
class DataFile:
    """One file of a data set."""

    name: str
    open: Callable[[], BinaryIO]

    @property
    def suffix(self) -> str:
        """The file name's suffix, without ``.gz``: it determines the format."""
        return PurePosixPath(self.name.removesuffix(GZIP)).suffix

    @contextmanager
    def decompressed(self) -> Iterator[BinaryIO]:
        """Open the file, and decompress it if its name ends in ``.gz``."""
        with self.open() as stream:
            if not self.name.endswith(GZIP):
                yield stream
                return
            try:
                with gzip.open(stream) as text:
                    yield text  # type: ignore[misc]
            except (gzip.BadGzipFile, EOFError, zlib.error) as error:
                raise UserError(f"{self.name}: not a complete gzip file: {error}") from error


def find_files(path: Path, split: str) -> list[DataFile]:
    """List the files of a data set on the volume; raise UserError if there are none or the format is unknown."""
    path = inside_volume(path)
    if path.is_file():
        if not path.name.endswith(SUFFIXES):
            raise UserError(f"{str(path)!r}: unknown format {path.suffix!r}: one of {', '.join(SUFFIXES)}")
        return [DataFile(path.name, lambda: path.open("rb"))]
    if not path.is_dir():
        raise UserError(f"{str(path)!r}: no such file or folder")
    paths = {str(p.relative_to(path)): inside_volume(p) for p in path.rglob("*") if p.is_file()}
    names = select_split(paths, split)
    if not names:
        raise UserError(f"{str(path)!r}: no file of split {split!r} ends in {', '.join(SUFFIXES)}")
    return [DataFile(name, lambda name=name: paths[name].open("rb")) for name in names]  # type: ignore[misc]


def open_files(path: Path, split: str, columns: Iterable[str], where: str) -> list[DataFile]:
    """Return the files of a data set that is readable, has rows and has the columns; errors start with ``where``."""
    try:
        files = find_files(path, split)
        check_columns(files, columns)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    return files


def select_split(names: Iterable[str], split: str) -> list[str]:
    """Return the data files of a split, sorted: by their names, or all files if no name contains a split.

    Source: huggingface.co/docs/datasets/repository_structure: the file's or folder's name contains the split's name,
    delimited by non-word characters. In a numbered file's name, everything before the number is the split:
    ``data/train_1M-00000-of-00002.parquet`` is not in split ``train`` (OpenMathInstruct-2 has both).
    """
    files = sorted(n for n in names if n.endswith(SUFFIXES) and not PurePosixPath(n).name.startswith("."))
    # Metadata of the ``datasets`` library, not data.
    files = [n for n in files if PurePosixPath(n).name not in ("dataset_infos.json", "dataset_info.json", "state.json")]
    words = {n: _words(n) for n in files}
    selected = [n for n in files if split in words[n]]
    has_splits = any(file_words & set(SPLITS) for file_words in words.values())
    return selected if selected or has_splits else files


def _words(name: str) -> set[str]:
    """Return the words of a file's path; the name of a numbered file up to its number is one word."""
    numbered = _NUMBERED.search(name)
    rest = name[: numbered.start()] if numbered else name
    return {*re.split(r"[^A-Za-z0-9]+", rest), *([numbered["split"]] if numbered else [])}


def column_names(file: DataFile) -> list[str]:
    """Return the columns of a file's schema or of its first rows; none for an empty file."""
    if file.suffix == ".parquet":
        with _parquet(file) as parquet:
            names: list[str] = parquet.schema_arrow.names
            return names
    columns: dict[str, None] = {}
    for number, (_, row) in enumerate(read_raw_rows([file])):
        columns.update(dict.fromkeys(row))
        if number >= HEAD_ROWS:
            break
    return list(columns)


def get_value(row: RawRow, column: str) -> Any:
    """Return the value of a column or of a path such as ``conversations[0].value``; None if it is missing."""
    if column in row:
        return row[column]
    value: Any = row
    for field, index in _STEP.findall(column):
        if index:
            value = value[int(index)] if isinstance(value, list) and int(index) < len(value) else None
        else:
            value = value.get(field) if isinstance(value, dict) else None
    return value


def _find_column(column: str, names: Iterable[str]) -> str | None:
    """Return the column, or for a path the column that contains it; None if it is missing."""
    names = set(names)
    if column in names:
        return column
    first = _STEP.match(column)
    root = first[1] if first else None
    return root if root in names else None


def check_columns(files: list[DataFile], wanted: Iterable[str]) -> None:
    """Raise UserError if the data set has no rows, or its first file with rows lacks a column."""
    for file in files:
        columns = column_names(file)
        if next(read_raw_rows([file]), None) is None:
            continue
        for name in wanted:
            if _find_column(name, columns) is None:
                has = ", ".join(columns[:40])
                raise UserError(f"column {name!r}: missing in {file.name}, which has: {has}")
        return
    raise UserError(f"{', '.join(f.name for f in files[:4])!r}: the data set is empty: it has no rows")


def read_raw_rows(files: list[DataFile], columns: list[str] | None = None) -> Iterator[tuple[str, RawRow]]:
    """Yield every row with its location, ``file:line``; from Parquet only the given columns."""
    for file in files:
        match file.suffix:
            case ".parquet":
                yield from _parquet_rows(file, columns)
            case ".csv":
                yield from _csv_rows(file)
            case _:
                yield from _json_rows(file)


def _json_rows(file: DataFile) -> Iterator[tuple[str, RawRow]]:
    with file.decompressed() as stream:
        if file.suffix == ".json" and stream.read(64).lstrip()[:1] == b"[":
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
    except ValueError as error:  # includes UnicodeDecodeError
        raise UserError(f"{where}: not JSON: {error}") from error
    except RecursionError as error:
        raise UserError(f"{where}: not readable: its JSON is nested too deeply") from error


def _csv_rows(file: DataFile) -> Iterator[tuple[str, RawRow]]:
    csv.field_size_limit(2**27)
    with file.decompressed() as stream:
        reader = csv.DictReader(io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""))
        try:
            for row in reader:
                yield f"{file.name}:{reader.line_num}", {k: v for k, v in row.items() if k is not None}
        except (csv.Error, UnicodeDecodeError) as error:
            raise UserError(f"{file.name}:{reader.line_num}: not CSV: {error}") from error


def _parquet_rows(file: DataFile, columns: list[str] | None) -> Iterator[tuple[str, RawRow]]:
    number = 0
    with _parquet(file) as parquet:
        names = parquet.schema_arrow.names
        wanted = None if columns is None else [n for n in dict.fromkeys(_find_column(c, names) for c in columns) if n]
        for batch in parquet.iter_batches(batch_size=BATCH_ROWS, columns=wanted):
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
            with pq.ParquetFile(stream) as parquet:
                yield parquet
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(f"{file.name}: not a complete Parquet file: {str(error)[:200]}") from error


def get_text(value: Any) -> str | None:
    """Return the text of a value: the string, or a conversation's first user turn; None if there is no text."""
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, list):
        for turn in value:
            if isinstance(turn, dict) and (turn.get("role") or turn.get("from")) in ("user", "human"):
                return get_text(turn.get("content") or turn.get("value"))
        return None
    return None if value is None or isinstance(value, dict) else str(value)
