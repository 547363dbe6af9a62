"""Append-only JSON Lines files for work in progress, one per pod: complete rows survive a kill at any byte."""

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
