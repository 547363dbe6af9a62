"""Parquet files of typed rows, written and read in bounded memory."""

import types
import typing
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from fusionrun.api.records import Row
from fusionrun_stages.volume.atomic import commit, forget_parts, part_of
from fusionrun_stages.volume.paths import inside_volume

R = TypeVar("R", bound=Row)

BATCH_ROWS = 4096
"""Rows written or read at once: at a few KiB each, some MiB."""


def arrow_schema(model: type[BaseModel]) -> Any:
    """Return the Arrow schema that a row's class stands for: one field each, in order."""
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
        hints = typing.get_type_hints(hint)
        return pa.struct([pa.field(name, _arrow_type(hints[name])) for name in hint.model_fields])
    return {int: pa.int64(), float: pa.float64(), bool: pa.bool_()}[hint]


def write_rows(path: Path, model: type[R], rows: Iterable[R]) -> int:
    """Write rows to a Parquet file, streaming, whole or not at all; return how many there were."""
    with RowWriter(path, model) as writer:
        for row in rows:
            writer.append(row)
    return writer.count


class RowWriter:
    """A Parquet file that is written row by row in bounded memory and appears when it is whole.

    Used as a context manager: left by an exception it leaves nothing behind.
    """

    def __init__(self, path: Path, model: type[Row]) -> None:
        import pyarrow.parquet as pq

        path.parent.mkdir(parents=True, exist_ok=True)
        self.count = 0
        self._path = path
        self._part = part_of(path)
        self._schema = arrow_schema(model)
        self._rows: list[dict[str, Any]] = []
        self._writer = pq.ParquetWriter(self._part, self._schema, compression="zstd")

    def append(self, row: Row) -> None:
        """Add one row."""
        self._rows.append(row.model_dump(mode="json"))
        self.count += 1
        if len(self._rows) >= BATCH_ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
            self._rows.clear()

    def __enter__(self) -> typing.Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._flush()
        self._writer.close()
        if kind is not None:
            self._part.unlink(missing_ok=True)
            return
        commit(self._part, self._path)
        forget_parts(self._path)


def read_rows(path: Path, model: type[R]) -> Iterator[R]:
    """Yield the rows of a Parquet file in bounded memory."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(inside_volume(path)) as file:
        for batch in file.iter_batches(batch_size=BATCH_ROWS):
            for row in batch.to_pylist():
                yield model.model_validate(row)
