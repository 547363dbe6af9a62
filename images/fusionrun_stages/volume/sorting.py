"""Parquet files sorted by columns, written from rows that come in any order, in bounded memory.

Rows are spilled to the disk as they come; when all are there, the spilled rows are parted into ranges of keys, each
small enough to be sorted in memory, and one range after the other is sorted and appended to the file.
"""

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from fusionrun.api.records import Row
from fusionrun_stages.volume.atomic import commit, forget_parts, part_of
from fusionrun_stages.volume.parquet import arrow_schema

POOL_ROWS = 16_384
"""Rows that all writers of a pool hold together: at a few KiB each, less than 100 MiB."""
RANGE_BYTES = 64 * 2**20
"""Bytes sorted at once, about: sorting takes some times as much."""


class Pool:
    """The rows that several writers hold before they spill them: bounded together, however many writers there are."""

    def __init__(self, most: int = POOL_ROWS) -> None:
        self._most = most
        self._held = 0
        self._writers: list[SortingWriter] = []

    def join(self, writer: "SortingWriter") -> None:
        """Take a writer in."""
        self._writers.append(writer)

    def added(self) -> None:
        """Count a row; spill those of the writer that holds the most when there are too many."""
        self._held += 1
        if self._held >= self._most:
            self._held -= max(self._writers, key=lambda writer: writer.held).spill()


class SortingWriter:
    """A sorted Parquet file whose rows come in any order; it appears when it is whole.

    Used as a context manager: left by an exception it leaves nothing behind.

    Parameters
    ----------
    by
        Columns to sort by. Rows that are equal in the first of them are sorted in memory together.
    """

    def __init__(self, path: Path, model: type[Row], by: list[str], pool: Pool) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._by, self._pool = path, by, pool
        self._part = part_of(path)
        self._spilled = self._part.with_name(f"{self._part.name}.spilled.part")
        self._schema = arrow_schema(model)
        self._rows: list[dict[str, Any]] = []
        self._spill = _stream(self._spilled, self._schema)
        pool.join(self)

    @property
    def held(self) -> int:
        """Rows in memory."""
        return len(self._rows)

    def append(self, row: Row) -> None:
        """Add one row."""
        self._rows.append(row.model_dump(mode="json"))
        self._pool.added()

    def spill(self) -> int:
        """Write what is in memory to the disk; return how many rows that was."""
        import pyarrow as pa

        count = len(self._rows)
        if count:
            self._spill.write_batch(pa.RecordBatch.from_pylist(self._rows, schema=self._schema))
            self._rows.clear()
        return count

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.spill()
            self._spill.close()
            if kind is None:
                self._sort()
                commit(self._part, self._path)
                forget_parts(self._path)
        finally:
            self._part.unlink(missing_ok=True)
            self._spilled.unlink(missing_ok=True)

    def _sort(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        order = [(name, "ascending") for name in self._by]
        starts = self._range_starts()
        with pq.ParquetWriter(self._part, self._schema, compression="zstd") as writer:
            for file in self._in_ranges(starts):
                with pa.memory_map(str(file)) as source, pa.ipc.open_stream(source) as stream:
                    table = stream.read_all()
                writer.write_table(table.sort_by(order))
                file.unlink(missing_ok=True)

    def _range_starts(self) -> list[Any]:
        """Return where ranges of about ``RANGE_BYTES`` begin, but for the first: keys at equal distances."""
        import pyarrow as pa

        keys, size = [], 0
        for batch in _batches(self._spilled):
            size += batch.nbytes
            keys.append(batch.column(self._by[0]))
        count = -(-size // RANGE_BYTES)
        if count <= 1:
            return []
        ranked = pa.chunked_array(keys).sort()
        return sorted({ranked[len(ranked) * number // count].as_py() for number in range(1, count)})

    def _in_ranges(self, starts: list[Any]) -> list[Path]:
        """Part the spilled rows into one file for each range of keys."""
        import pyarrow as pa

        if not starts:
            return [self._spilled]
        files = [self._part.with_name(f"{self._part.name}.{number}.part") for number in range(len(starts) + 1)]
        with ExitStack() as stack:
            streams = [stack.enter_context(_stream(file, self._schema)) for file in files]
            for batch in _batches(self._spilled):
                numbers = pa.array([bisect_right(starts, key) for key in batch.column(self._by[0]).to_pylist()])
                for number in numbers.unique().to_pylist():
                    streams[number].write_batch(batch.filter(pa.compute.equal(numbers, number)))
        return files


def _stream(path: Path, schema: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute

    # Arrow's own form and not Parquet: no part of it stays in memory until the file is closed.
    return pa.ipc.new_stream(str(path), schema, options=pa.ipc.IpcWriteOptions(compression="zstd"))


def _batches(path: Path) -> Iterator[Any]:
    import pyarrow as pa

    with pa.OSFile(str(path)) as source, pa.ipc.open_stream(source) as stream:
        yield from stream
