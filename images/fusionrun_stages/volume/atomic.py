"""Atomic writes: a file on the volume is complete or missing, even after a kill or a node failure."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fusionrun.api.pod import POD_UID_ENV
from fusionrun_stages.errors import InfrastructureError
from fusionrun_stages.volume.paths import inside_volume

WRITE_ATTEMPTS = 3


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a partial file's path to write to; commit it to ``path`` on success and delete it on an exception."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    try:
        yield partial
        commit(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    remove_partials(path)


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file atomically.

    Two pods may write the same file at the same time (two runs save the same pin). The pod that finishes first removes
    the other pod's partial file, and the other pod writes again.
    """
    for attempt in range(WRITE_ATTEMPTS):
        try:
            with atomic_file(path) as partial:
                partial.write_bytes(content)
        except InfrastructureError:
            if attempt == WRITE_ATTEMPTS - 1:
                raise
        else:
            return


def commit(partial: Path, path: Path) -> None:
    """Sync a finished file (or folder), rename it to ``path``, and sync the parent directory.

    Raise InfrastructureError if the partial file was removed. Only the holder of an artifact's lease removes its
    partial files (``pod.lease``), so another pod has replaced this one, which must not report that file as its result.
    """
    try:
        sync(partial)
        partial.replace(path)
    except FileNotFoundError as error:
        raise InfrastructureError(f"{path}: another pod has finished it and removed {partial.name}") from error
    sync(path.parent)


def partial_path(path: Path) -> Path:
    """Return where this pod writes a file before it is complete; the name is unique on a shared volume.

    The process ID cannot identify a pod: it is 1 in every container.
    """
    return path.with_name(f".{path.name}.{os.environ.get(POD_UID_ENV) or os.getpid()}.part")


def remove_partials(path: Path) -> None:
    """Remove the partial files of a complete file that killed pods left."""
    for partial in path.parent.glob(f".{path.name}.*.part"):
        partial.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Flush a file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json(path: Path) -> Any:
    """Read a JSON file of the volume."""
    return json.loads(inside_volume(path).read_bytes())
