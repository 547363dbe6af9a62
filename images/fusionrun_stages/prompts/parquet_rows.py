"""Rows of Parquet files, in bounded memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from fusionrun_stages.errors import UserError
from fusionrun_stages.prompts.bad_rows import ROW_MAX_BYTES, BadRowError, RawRow
from fusionrun_stages.prompts.values import find_column

BATCH_ROWS = 32
"""Rows decoded at once. A dictionary stores a long text once for any number of rows, so the size of a file does not
limit the size of its rows. Larger batches are not faster."""
BUFFER_BYTES = 2**20
"""Bytes of a column that are read at once."""


@contextmanager
def open_parquet_file(name: str, stream: BinaryIO) -> Iterator[Any]:
    """Open a ``pyarrow.parquet.ParquetFile``; raise UserError if it cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(stream, buffer_size=BUFFER_BYTES) as parquet:
            yield parquet
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno:  # of the volume
            raise
        raise UserError(f"{name}: not a complete Parquet file: {str(error)[:200]}") from error


def read_parquet_rows(
    name: str, stream: BinaryIO, columns: list[str] | None
) -> Iterator[tuple[int, RawRow | BadRowError]]:
    """Yield every row with its number; only the given columns, or the columns that contain the given paths."""
    number = 0
    with open_parquet_file(name, stream) as parquet:
        names = parquet.schema_arrow.names
        wanted = None
        if columns is not None:
            wanted = [name for name in dict.fromkeys(find_column(column, names) for column in columns) if name]
        for batch in parquet.iter_batches(batch_size=BATCH_ROWS, columns=wanted):
            for row in _rows(batch):
                number += 1
                yield number, row


def _rows(batch: Any) -> Iterator[RawRow | BadRowError]:
    import pyarrow as pa

    if batch.nbytes <= ROW_MAX_BYTES or batch.num_rows == 1:
        try:
            rows = _shorten_floats(batch).to_pylist()
        except UnicodeDecodeError:
            bad = BadRowError("a text that is not UTF-8")
        except (pa.ArrowException, ValueError, OverflowError) as error:  # a time in nanoseconds, the year 10000
            bad = BadRowError("a value that Python cannot represent", str(error)[:200])
        else:
            yield from rows
            return
        if batch.num_rows == 1:
            yield bad
            return
    for index in range(batch.num_rows):
        yield from _rows(batch.slice(index, 1))


def _shorten_floats(batch: Any) -> Any:
    """Convert 32-bit floats to the shortest decimals that they stand for: 0.1 is not 0.10000000149011612."""
    import pyarrow as pa

    for index, field in enumerate(batch.schema):
        if pa.types.is_float32(field.type):
            shortened = batch.column(index).cast(pa.string()).cast(pa.float64())
            batch = batch.set_column(index, field.name, shortened)
    return batch
