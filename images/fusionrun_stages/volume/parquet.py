"""Parquet files of typed rows, written and read in bounded memory."""

import types
import typing
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from fusionrun.api.records import Row
from fusionrun_stages.volume.atomic import atomic_file
from fusionrun_stages.volume.paths import inside_volume

R = TypeVar("R", bound=Row)

BATCH_ROWS = 4096
BATCH_BYTES = 32 * 2**20
"""Rows and approximate bytes that are written at once."""
READ_ROWS = 256
"""Rows that are read at once. Larger batches are not faster."""


def arrow_schema(model: type[BaseModel]) -> Any:
    """Return the Arrow schema of a record class: one field per model field, in order."""
    import pyarrow as pa

    hints = typing.get_type_hints(model)
    return pa.schema([pa.field(name, _arrow_type(hints[name])) for name in model.model_fields])


def _arrow_type(hint: Any) -> Any:
    import pyarrow as pa

    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _arrow_type(next(a for a in arguments if a is not type(None)))
    if origin is list:
        return pa.list_(_arrow_type(arguments[0]))
    if origin is typing.Literal or (isinstance(hint, type) and issubclass(hint, (str, Enum))):
        return pa.string()
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return pa.struct(list(arrow_schema(hint)))
    return {int: pa.int64(), float: pa.float64(), bool: pa.bool_()}[hint]


def parquet_writer(path: Path, schema: Any) -> Any:
    """Return a ``pyarrow.parquet.ParquetWriter``, with the settings of all files."""
    import pyarrow.parquet as pq

    return pq.ParquetWriter(path, schema, compression="zstd")


@contextmanager
def open_parquet(path: Path, model: type[Row]) -> Iterator[Any]:
    """Open a ``pyarrow.parquet.ParquetWriter`` for one record class; commit the file when the block succeeds."""
    with atomic_file(path) as partial, parquet_writer(partial, arrow_schema(model)) as writer:
        yield writer


def row_bytes(value: Any) -> int:
    """Return the approximate bytes of a row's values: the characters of its texts."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(row_bytes, value.values()))
    return sum(map(row_bytes, value)) if isinstance(value, list) else 8


class RowWriter:
    """Appends rows to an open Parquet file, in batches of at most ``BATCH_ROWS`` and about ``BATCH_BYTES``."""

    def __init__(self, file: Any) -> None:
        self.count = 0
        self._bytes = 0
        self._file = file
        self._rows: list[dict[str, Any]] = []

    def append(self, row: Row) -> None:
        """Add one row."""
        fields = row.model_dump(mode="json")
        self._rows.append(fields)
        self._bytes += row_bytes(fields)
        self.count += 1
        if len(self._rows) >= BATCH_ROWS or self._bytes >= BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the rows in memory to the file."""
        import pyarrow as pa

        if self._rows:
            self._file.write_table(pa.Table.from_pylist(self._rows, schema=self._file.schema))
            self._rows.clear()
            self._bytes = 0


@contextmanager
def open_rows(path: Path, model: type[Row]) -> Iterator[RowWriter]:
    """Open a Parquet file to be written row by row; commit it when the block succeeds."""
    with open_parquet(path, model) as file:
        writer = RowWriter(file)
        yield writer
        writer.flush()


def write_rows(path: Path, model: type[R], rows: Iterable[R]) -> int:
    """Write rows to a Parquet file atomically and in bounded memory; return their number."""
    with open_rows(path, model) as writer:
        for row in rows:
            writer.append(row)
    return writer.count


def read_rows(path: Path, model: type[R], at_once: int = READ_ROWS) -> Iterator[R]:
    """Yield the rows of a Parquet file in bounded memory; ``at_once`` is less than the default for large rows."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(inside_volume(path)) as file:
        for batch in file.iter_batches(batch_size=at_once):
            for row in batch.to_pylist():
                yield model.model_validate(row)
