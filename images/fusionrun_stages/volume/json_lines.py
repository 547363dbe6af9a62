"""Append-only JSON Lines files for incomplete results, one per pod: complete lines survive a kill at any time."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from fusionrun.api.records import Row

log = logging.getLogger(__name__)

R = TypeVar("R", bound=Row)


class JsonLines:
    """An append-only file with one row per line.

    Opening the file removes an incomplete last line that a killed pod left.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        os.ftruncate(self._descriptor, _complete_lines_bytes(path))

    def append(self, row: BaseModel) -> int:
        """Append one row; return its offset. It survives a kill of the process, and after ``sync`` a node failure.

        If the volume is full, the incomplete line is removed: the next row would be appended to it.
        """
        line = row.model_dump_json().encode() + b"\n"
        view, before = memoryview(line), os.fstat(self._descriptor).st_size
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError:
            os.ftruncate(self._descriptor, before)
            raise
        return before

    def sync(self) -> None:
        """Flush all rows to the disk."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Sync and close."""
        self.sync()
        os.close(self._descriptor)


def part_file(parts: Path, shard: int, pod_uid: str) -> Path:
    """Return the path of the rows that one pod has added to a shard."""
    return parts / f"shard-{shard:05d}.{pod_uid}.jsonl.part"


def part_files(parts: Path, shard: int) -> list[Path]:
    """List the files of all pods that have added rows to a shard."""
    return sorted(parts.glob(f"shard-{shard:05d}.*.jsonl.part"))


def remove_part_files(parts: Path, shard: int) -> None:
    """Remove the rows of an incomplete shard."""
    for path in part_files(parts, shard):
        path.unlink()


def read_json_lines(path: Path, model: type[R]) -> Iterator[R]:
    """Yield the rows of complete lines; skip an incomplete last line."""
    for _, row in read_json_lines_at(path, model):
        yield row


def read_json_lines_at(path: Path, model: type[R]) -> Iterator[tuple[int, R]]:
    """Yield the rows of complete lines with the byte offset of each.

    An invalid line (a disk error, an older version) is logged and skipped: its row is produced again, and the stage
    does not fail at every retry.
    """
    with path.open("rb") as file:
        start = 0
        for line in file:
            if line.endswith(b"\n"):
                try:
                    row = model.model_validate_json(line)
                except ValueError as error:
                    reason = str(error).splitlines()[0]
                    log.warning("%s: invalid %s at byte %d, skipped: %s", path, model.__name__, start, reason)
                else:
                    yield start, row
            start += len(line)


def _complete_lines_bytes(path: Path) -> int:
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
