"""Rows of Parquet files, in bounded memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from fusionrun_stages.errors import UserError
from fusionrun_stages.prompts.bad_rows import ROW_MAX_BYTES, BadRowError, RawRow, longer_than_allowed
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
            for row in _rows(_plain(batch)):
                number += 1
                yield number, row


def _rows(batch: Any) -> Iterator[RawRow | BadRowError]:
    import pyarrow as pa

    if batch.nbytes <= ROW_MAX_BYTES:
        try:
            rows = batch.to_pylist()
        except UnicodeDecodeError:
            bad = BadRowError("a text that is not UTF-8")
        except (pa.ArrowException, ValueError, OverflowError) as error:  # a time in nanoseconds, the year 10000
            bad = BadRowError("a value that Python cannot represent", str(error)[:200])
        else:
            yield from rows
            return
    else:
        bad = longer_than_allowed()
    if batch.num_rows == 1:
        yield bad
        return
    for index in range(batch.num_rows):
        yield from _rows(batch.slice(index, 1))


def _plain(batch: Any) -> Any:
    """Convert columns so that a row has its values only, and 32-bit floats are the decimals that they stand for.

    The slice of a dictionary, or of views, has the texts of all rows. 0.1 as a 32-bit float is 0.10000000149011612.
    """
    import pyarrow as pa

    for index, field in enumerate(batch.schema):
        column = batch.column(index)
        if pa.types.is_dictionary(field.type):
            column = column.dictionary_decode()
        elif pa.types.is_string_view(field.type):
            column = column.cast(pa.large_string())
        elif pa.types.is_float32(field.type):
            column = column.cast(pa.string()).cast(pa.float64())
        else:
            continue
        batch = batch.set_column(index, field.name, column)
    return batch
