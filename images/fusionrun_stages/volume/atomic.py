"""Atomic writes: a file on the volume is complete or absent, even after a kill or a power failure."""

import json
import os
from pathlib import Path
from typing import Any

from fusionrun_stages.errors import InfrastructureError
from fusionrun_stages.volume.paths import inside_volume

POD_UID_ENV = "FUSIONRUN_POD_UID"


WRITE_ATTEMPTS = 3


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


def read_json(path: Path) -> Any:
    """Read one JSON file of the volume."""
    return json.loads(inside_volume(path).read_bytes())


def part_of(path: Path) -> Path:
    """Return where this pod writes a file before it is whole: no other pod does, not even one that shares the volume.

    The number of the process tells nothing: it is 1 in every container.
    """
    return path.with_name(f".{path.name}.{os.environ.get(POD_UID_ENV) or os.getpid()}.part")
