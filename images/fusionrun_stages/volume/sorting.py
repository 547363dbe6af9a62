"""Sorted Parquet files, written from unsorted rows in bounded memory (an external sort).

Rows are spilled to the disk in the order of their arrival. At the end they are partitioned into key ranges, each small
enough to be sorted in memory, and the sorted ranges are appended to the file.
"""

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from fusionrun.api.records import Row
from fusionrun_stages.volume.atomic import partial_path
from fusionrun_stages.volume.parquet import arrow_schema, open_parquet

POOL_ROWS = 16_384
"""Rows in memory over all writers of a pool: less than 100 MiB at a few KiB per row."""
RANGE_BYTES = 64 * 2**20
"""Approximate bytes sorted at once; sorting takes a few times as much memory."""


class Pool:
    """Bounds the rows that several writers hold in memory together."""

    def __init__(self, max_rows: int = POOL_ROWS) -> None:
        self.writers: list[SortingWriter] = []
        self._max_rows = max_rows
        self._held = 0

    def count_row(self) -> None:
        """Count a row; if the pool is full, spill the rows of the writer that holds the most."""
        self._held += 1
        if self._held >= self._max_rows:
            self._held -= max(self.writers, key=lambda writer: writer.held).spill()


class SortingWriter:
    """Collects the rows of one sorted file (``open_sorted``)."""

    def __init__(self, stream: Any, schema: Any, pool: Pool) -> None:
        self._stream, self._schema, self._pool = stream, schema, pool
        self._rows: list[dict[str, Any]] = []
        pool.writers.append(self)

    @property
    def held(self) -> int:
        """Number of rows in memory."""
        return len(self._rows)

    def append(self, row: Row) -> None:
        """Add one row."""
        self._rows.append(row.model_dump(mode="json"))
        self._pool.count_row()

    def spill(self) -> int:
        """Write the rows in memory to the disk; return their number."""
        import pyarrow as pa

        count = len(self._rows)
        if count:
            self._stream.write_batch(pa.RecordBatch.from_pylist(self._rows, schema=self._schema))
            self._rows.clear()
        return count


@contextmanager
def open_sorted(path: Path, model: type[Row], by: list[str], pool: Pool) -> Iterator[SortingWriter]:
    """Open a Parquet file that is written in any order and sorted by ``by`` when the block succeeds.

    Rows with the same value in the first column of ``by`` must fit in memory together.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = arrow_schema(model)
    partial = partial_path(path)
    spilled = partial.with_name(f"{partial.name}.spilled.part")
    try:
        with _open_stream(spilled, schema) as stream:
            writer = SortingWriter(stream, schema, pool)
            yield writer
            writer.spill()
        with open_parquet(path, model) as file:
            for part in _partition(spilled, by[0], schema):
                file.write_table(_read_stream(part).sort_by([(name, "ascending") for name in by]))
                part.unlink(missing_ok=True)
    finally:
        spilled.unlink(missing_ok=True)


def _partition(spilled: Path, key: str, schema: Any) -> list[Path]:
    """Partition the spilled rows by ranges of a key column: one file for each range."""
    import pyarrow as pa

    starts = _range_starts(spilled, key)
    if not starts:
        return [spilled]
    files = [spilled.with_name(f"{spilled.name}.{number}.part") for number in range(len(starts) + 1)]
    with ExitStack() as stack:
        streams = [stack.enter_context(_open_stream(file, schema)) for file in files]
        for batch in _read_batches(spilled):
            numbers = pa.array([bisect_right(starts, value) for value in batch.column(key).to_pylist()])
            for number in numbers.unique().to_pylist():
                streams[number].write_batch(batch.filter(pa.compute.equal(numbers, number)))
    return files


def _range_starts(spilled: Path, key: str) -> list[Any]:
    """Return the quantiles of the keys that divide them into ranges of about ``RANGE_BYTES``."""
    import pyarrow as pa

    keys, size = [], 0
    for batch in _read_batches(spilled):
        size += batch.nbytes
        keys.append(batch.column(key))
    count = -(-size // RANGE_BYTES)
    if count <= 1:
        return []
    ranked = pa.chunked_array(keys).sort()
    return sorted({ranked[len(ranked) * number // count].as_py() for number in range(1, count)})


def _open_stream(path: Path, schema: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute

    # Arrow's stream format instead of Parquet: the writer keeps nothing in memory until the file is closed.
    return pa.ipc.new_stream(str(path), schema, options=pa.ipc.IpcWriteOptions(compression="zstd"))


def _read_stream(path: Path) -> Any:
    import pyarrow as pa

    with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as stream:
        return stream.read_all()


def _read_batches(path: Path) -> Iterator[Any]:
    import pyarrow as pa

    with pa.OSFile(str(path)) as source, pa.ipc.open_stream(source) as stream:
        yield from stream
