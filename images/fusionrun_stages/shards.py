"""Files on the volume: whole or not there, and rows that survive a kill at any byte.

In progress: JSON Lines, appended, one file per pod. Finished: Parquet, by an atomic rename.
"""

import json
import logging
import os
import shutil
import types
import typing
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from fusionrun.api.artifacts import MOUNT_PATH, shard_name
from fusionrun.api.records import Row
from fusionrun_stages.errors import InfrastructureError, UserError

log = logging.getLogger(__name__)

R = TypeVar("R", bound=Row)

POD_UID_ENV = "FUSIONRUN_POD_UID"
WRITE_ATTEMPTS = 3

BATCH_ROWS = 4096
"""Rows written or read at once: at a few KiB each, some MiB."""


def volume_root() -> Path:
    """Return where the volume is mounted: ``/data``, or FUSIONRUN_MOUNT where a stage runs outside a pod."""
    return Path(os.environ.get("FUSIONRUN_MOUNT", MOUNT_PATH))


def on_volume(path: str) -> Path:
    """Return where a path of the contract, ``/data/…``, lies here."""
    return volume_root() / Path(path).relative_to(MOUNT_PATH)


def inside_volume(path: str | Path) -> Path:
    """Return the path, refusing one whose symbolic links lead out of the volume.

    Raises
    ------
    UserError
        If the path is below the volume's mount but really lies elsewhere.

    """
    root = volume_root()
    path = Path(path)
    if path.is_relative_to(root) and not path.resolve().is_relative_to(root.resolve()):
        raise UserError(f"{path}: a symbolic link leads out of the volume, to {path.resolve()}")
    return path


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that it is whole or not there, even after a power cut.

    Two pods may write one such file at once (both of two runs note the same pin): who finishes first sweeps the
    other's part away, and the other writes it again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(path)
    for attempt in range(WRITE_ATTEMPTS):
        part.write_bytes(content)
        try:
            commit(part, path)
        except InfrastructureError:
            if attempt == WRITE_ATTEMPTS - 1:
                raise
        else:
            break
    forget_parts(path)


def commit(part: Path, path: Path) -> None:
    """Bring a finished file to the disk, rename it (or a folder) to its name, and make that last.

    Raises
    ------
    InfrastructureError
        If the part is gone. Only who holds the lease of an artifact sweeps its parts (``lease``), so this pod was taken
        for dead: its successor's file stands, and this one must not say that it is its own.
    """
    try:
        sync(part)
        part.replace(path)
    except FileNotFoundError as error:
        raise InfrastructureError(f"{path}: another pod has finished it and swept {part.name} away") from error
    sync(path.parent)


def forget_parts(path: Path) -> None:
    """Remove what killed predecessors left of a file that is whole now."""
    for part in path.parent.glob(f".{path.name}.*.part"):
        part.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Bring a file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class JsonLines:
    """An append-only file of rows: one line each, whole lines only.

    A torn last line that a killed predecessor of the same name left is cut off when the file is opened.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        os.ftruncate(self._descriptor, _whole_lines_bytes(path))

    def append(self, row: BaseModel) -> None:
        """Append one row; once this returns, the row outlives the process (not the machine: see ``sync``).

        A row that does not fit (a full volume, a quota) leaves nothing: half a line would swallow the next one.
        """
        line = row.model_dump_json().encode() + b"\n"
        view, before = memoryview(line), os.fstat(self._descriptor).st_size
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError:
            os.ftruncate(self._descriptor, before)
            raise

    def sync(self) -> None:
        """Make every row so far outlive the machine."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Sync and close."""
        self.sync()
        os.close(self._descriptor)


def read_json_lines(path: Path, model: type[R]) -> Iterator[R]:
    """Yield the rows of whole lines; a torn last line is passed over."""
    for _, row in read_json_lines_at(path, model):
        yield row


def read_json_lines_at(path: Path, model: type[R]) -> Iterator[tuple[int, R]]:
    """Yield the rows of whole lines with where each begins, in bytes.

    A line that is no row (a disk's or an older version's fault) is passed over and said in the log: what it held counts
    as not done, and so is done again, instead of failing every successor.
    """
    with path.open("rb") as file:
        start = 0
        for line in file:
            if line.endswith(b"\n"):
                try:
                    row = model.model_validate_json(line)
                except ValueError as error:
                    why = str(error).splitlines()[0]
                    log.warning("%s: the line at byte %d is no %s and is done again: %s", path, start, model, why)
                else:
                    yield start, row
            start += len(line)


def _whole_lines_bytes(path: Path) -> int:
    size = path.stat().st_size
    with path.open("rb") as file:
        end = size
        while end:
            start = max(0, end - 65536)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
    return 0


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


def shard_path(directory: str | Path, index: int, count: int) -> Path:
    """Return the path of a shard's Parquet file in its directory."""
    return Path(directory) / f"{shard_name(index, count)}.parquet"


def copy_tree(source: Path, destination: Path) -> None:
    """Copy a folder's regular files to ``destination`` so that it is whole or not there."""
    part = part_of(destination)
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(inside_volume(source), part, symlinks=False)
    commit(part, destination)


def read_json(path: Path) -> Any:
    """Read one JSON file of the volume."""
    return json.loads(inside_volume(path).read_bytes())


def part_of(path: Path) -> Path:
    """Return where this pod writes a file before it is whole: no other pod does, not even one that shares the volume.

    The number of the process tells nothing: it is 1 in every container.
    """
    return path.with_name(f".{path.name}.{os.environ.get(POD_UID_ENV) or os.getpid()}.part")
