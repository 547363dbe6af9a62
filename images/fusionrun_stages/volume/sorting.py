"""Sorted Parquet files, one for each shard of a folder, written from unsorted rows (an external sort).

Rows are spilled to one file per folder in the order of their arrival. At the end this file is partitioned into ranges
of shards, and large shards into ranges of keys, until each range can be sorted in memory. So neither memory nor the
number of open files depends on the number of shards.
"""

from bisect import bisect_right
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusionrun.api.records import Row
from fusionrun_stages.volume.atomic import commit, partial_path
from fusionrun_stages.volume.parquet import arrow_schema, parquet_writer, row_bytes
from fusionrun_stages.volume.paths import shard_path

POOL_ROWS = 16_384
POOL_BYTES = 64 * 2**20
"""Rows and approximate bytes in memory over all writers of a pool."""
RANGE_BYTES = 64 * 2**20
"""Approximate bytes sorted at once; sorting takes a few times as much memory."""
FAN_OUT = 128
"""Files that a file is partitioned into at once."""
COMMITS = 8
"""Files that are committed at the same time: a commit waits for the disk."""
SHARD = "shard"
"""Column of the spilled rows."""


class Pool:
    """Bounds the rows that several writers hold in memory together."""

    def __init__(self, max_rows: int = POOL_ROWS, max_bytes: int = POOL_BYTES) -> None:
        self.writers: list[SortingWriter] = []
        self._max_rows, self._max_bytes = max_rows, max_bytes

    def make_room(self) -> None:
        """Spill the rows of the largest writer if the pool is full."""
        if sum(w.held for w in self.writers) >= self._max_rows or (
            sum(w.held_bytes for w in self.writers) >= self._max_bytes
        ):
            max(self.writers, key=lambda writer: writer.held_bytes).spill()


class SortingWriter:
    """Collects the rows of one folder (``open_shards``)."""

    def __init__(self, stream: Any, schema: Any, pool: Pool) -> None:
        self._stream, self._schema, self._pool = stream, schema, pool
        self._rows: list[dict[str, Any]] = []
        self.held_bytes = 0
        """Approximate bytes in memory."""
        self.spilled_bytes = 0
        pool.writers.append(self)

    @property
    def held(self) -> int:
        """Number of rows in memory."""
        return len(self._rows)

    def append(self, shard: int, row: Row) -> None:
        """Add one row to a shard."""
        fields = row.model_dump(mode="json")
        self._rows.append(fields | {SHARD: shard})
        self.held_bytes += row_bytes(fields)
        self._pool.make_room()

    def spill(self) -> None:
        """Write the rows in memory to the disk."""
        import pyarrow as pa

        if self._rows:
            batch = pa.RecordBatch.from_pylist(self._rows, schema=self._schema)
            self._stream.write_batch(batch)
            self.spilled_bytes += batch.nbytes
            self._rows.clear()
            self.held_bytes = 0


@contextmanager
def open_shards(folder: Path, shards: int, model: type[Row], by: list[str], pool: Pool) -> Iterator[SortingWriter]:
    """Open the shards of a folder, to be written in any order; they are sorted by ``by`` when the block succeeds.

    Rows of a shard with the same value in the first column of ``by`` must fit in memory together.
    """
    import pyarrow as pa

    folder.mkdir(parents=True, exist_ok=True)
    schema = arrow_schema(model).append(pa.field(SHARD, pa.int32()))
    spilled = partial_path(folder / "spilled")
    try:
        with _open_stream(spilled, schema) as stream:
            writer = SortingWriter(stream, schema, pool)
            yield writer
            writer.spill()
        sorter = _Sorter(folder, shards, by, schema)
        sorter.write(spilled, writer.spilled_bytes, range(shards))
    finally:
        for left in folder.glob(f"{spilled.name}*"):
            left.unlink(missing_ok=True)
    for left in folder.glob(".*.part"):  # of pods that were killed
        left.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Sorter:
    """Writes the shards of a folder from spilled rows."""

    folder: Path
    count: int
    """Number of shards."""
    by: list[str]
    schema: Any
    """Of the spilled rows."""

    def write(self, spilled: Path, size: int, shards: range) -> None:
        """Sort a file of spilled rows of about ``size`` bytes, and write these shards."""
        ranges = min(-(-size // RANGE_BYTES), FAN_OUT, len(shards))
        if len(shards) == 1:
            self._write_shard(spilled, size, shards[0])
        elif ranges <= 1:
            self._write_sorted(spilled, shards)
        else:
            starts = [shards[len(shards) * number // ranges] for number in range(1, ranges)]
            parts = self._partition(spilled, SHARD, starts)
            spilled.unlink()
            for (part, part_size), start, stop in zip(
                parts, [shards.start, *starts], [*starts, shards.stop], strict=True
            ):
                self.write(part, part_size, range(start, stop))
                part.unlink(missing_ok=True)

    def _write_sorted(self, spilled: Path, shards: range) -> None:
        """Sort all rows in memory."""
        table = _read_stream(spilled).sort_by([(name, "ascending") for name in (SHARD, *self.by)])
        numbers = table.column(SHARD).to_numpy()
        table = table.drop_columns(SHARD)

        def write_slice(shard: int) -> None:
            start, end = numbers.searchsorted([shard, shard + 1])
            with self._open(shard) as file:
                if start < end:
                    file.write_table(table.slice(start, end - start))

        with ThreadPoolExecutor(COMMITS) as threads:
            list(threads.map(write_slice, shards))

    def _write_shard(self, spilled: Path, size: int, shard: int) -> None:
        """Sort the rows of one shard, in ranges of keys."""
        starts = _range_starts(spilled, self.by[0], min(-(-size // RANGE_BYTES), FAN_OUT))
        parts = self._partition(spilled, self.by[0], starts) if starts else [(spilled, size)]
        with self._open(shard) as file:
            for part, part_size in parts:
                if part_size:
                    table = _read_stream(part).drop_columns(SHARD)
                    file.write_table(table.sort_by([(name, "ascending") for name in self.by]))
                part.unlink(missing_ok=True)

    @contextmanager
    def _open(self, shard: int) -> Iterator[Any]:
        """Open the file of a shard; commit it when the block succeeds.

        The partial files of other pods are removed once for the folder: to look for them after each of 4,096 files
        takes longer than to write these.
        """
        path = shard_path(self.folder, shard, self.count)
        partial = partial_path(path)
        try:
            with parquet_writer(partial, self.schema.remove(self.schema.get_field_index(SHARD))) as file:
                yield file
            commit(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    def _partition(self, spilled: Path, column: str, starts: list[Any]) -> list[tuple[Path, int]]:
        """Partition spilled rows by ranges of a column; return a file and its approximate bytes for each range."""
        import pyarrow as pa

        files = [spilled.with_name(f"{spilled.name}.{number}.part") for number in range(len(starts) + 1)]
        sizes = [0] * len(files)
        with ExitStack() as stack:
            streams = [stack.enter_context(_open_stream(file, self.schema)) for file in files]
            for batch in _read_batches(spilled):
                numbers = pa.array([bisect_right(starts, value) for value in batch.column(column).to_pylist()])
                for number in numbers.unique().to_pylist():
                    part = batch.filter(pa.compute.equal(numbers, number))
                    streams[number].write_batch(part)
                    sizes[number] += part.nbytes
        return list(zip(files, sizes, strict=True))


def _range_starts(spilled: Path, key: str, count: int) -> list[Any]:
    """Return the quantiles of the keys that divide them into ``count`` ranges."""
    import pyarrow as pa

    if count <= 1:
        return []
    ranked = pa.chunked_array([batch.column(key) for batch in _read_batches(spilled)]).sort()
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
