"""Files of a data set: JSON Lines, JSON, CSV (these also gzipped) or Parquet, one file or a folder of them.

Rows are streamed in bounded memory. Every error names the file, and the line if the format has lines.
"""

import codecs
import gzip
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from fusionrun_stages.errors import UserError
from fusionrun_stages.prompts.bad_rows import BadRowError, RawRow
from fusionrun_stages.prompts.csv_rows import read_csv_rows
from fusionrun_stages.prompts.json_rows import FORM, read_json_rows
from fusionrun_stages.prompts.parquet_rows import open_parquet_file, read_parquet_rows
from fusionrun_stages.prompts.values import find_column
from fusionrun_stages.volume.paths import inside_volume

GZIP = ".gz"
TEXT_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv")
SUFFIXES = (*TEXT_SUFFIXES, ".parquet", *(suffix + GZIP for suffix in TEXT_SUFFIXES))
SPLITS = ("train", "test", "validation", "valid", "dev")
HEAD_ROWS = 100
"""Number of rows whose columns are named if one is missing."""
COLUMNS_SHOWN = 40

_NUMBERED = re.compile(r"(?:^|/)(?P<split>[^/]+)-\d{5}-of-\d{5}[^/]*$")


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


def all_files(path: Path) -> list[DataFile]:
    """List the visible files of a folder on the volume, in any format, sorted by name; of a file, itself."""
    path = inside_volume(path)
    if path.is_file():
        return [DataFile(path.name, lambda: path.open("rb"))]
    paths = {str(p.relative_to(path)): inside_volume(p) for p in path.rglob("*") if p.is_file()}
    names = sorted(name for name in paths if is_visible(name))
    return [DataFile(name, lambda name=name: paths[name].open("rb")) for name in names]  # type: ignore[misc]


def is_visible(name: str) -> bool:
    """Return whether no part of a path begins with a dot: a folder ``.cache`` belongs to the program that made it."""
    return not any(part.startswith(".") for part in PurePosixPath(name).parts)


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


def check_columns(files: list[DataFile], wanted: Iterable[str]) -> None:
    """Raise UserError if the data set has no rows, or no file has a column.

    JSON and CSV files are read until all columns were found: early rows may lack an optional one.
    """
    missing = list(dict.fromkeys(wanted))
    first, shown, reason = "", dict[str, None](), ""
    for file in files:
        for number, (where, names) in enumerate(_column_names(file)):
            if not first:
                first = file.name
            if isinstance(names, BadRowError):
                reason = reason or f"; {where}: {names}"
                continue
            missing = [name for name in missing if find_column(name, names) is None]
            if not missing:
                return
            if file.name == first and number < HEAD_ROWS:
                shown.update(dict.fromkeys(names))
    if not first:
        raise UserError(f"{', '.join(f.name for f in files[:4])!r}: the data set is empty: it has no rows")
    if missing:
        has = ", ".join([*shown][:COLUMNS_SHOWN])
        hint = f"; {FORM}" if first.removesuffix(GZIP).endswith(".json") else ""
        raise UserError(f"column {missing[0]!r}: missing in {first}, which has: {has}{reason}{hint}")


def _column_names(file: DataFile) -> Iterator[tuple[str, Iterable[str] | BadRowError]]:
    """Yield the columns of a Parquet file with rows, or of each row of another file, with the location."""
    if file.suffix == ".parquet":
        with file.open() as stream, open_parquet_file(file.name, stream) as parquet:
            if parquet.metadata.num_rows:
                yield file.name, parquet.schema_arrow.names
    else:
        yield from read_raw_rows([file])


def read_raw_rows(
    files: list[DataFile], columns: list[str] | None = None
) -> Iterator[tuple[str, RawRow | BadRowError]]:
    """Yield every row, or why it cannot be read, with its location, ``file:line``.

    From Parquet only the given columns.
    """
    for file in files:
        with file.decompressed() as stream:
            for number, row in _read_file(file, stream, columns):
                yield f"{file.name}:{number}", row


def _read_file(
    file: DataFile, stream: BinaryIO, columns: list[str] | None
) -> Iterator[tuple[int, RawRow | BadRowError]]:
    if file.suffix == ".parquet":
        return read_parquet_rows(file.name, stream, columns)
    if stream.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        raise UserError(f"{file.name}: is UTF-16: convert it to UTF-8")
    stream.seek(0)
    return read_csv_rows(file.name, stream) if file.suffix == ".csv" else read_json_rows(file.name, stream)
