"""Paths on the volume, and its mount point in a pod or a test."""

import os
from pathlib import Path

from fusionrun.api.artifacts import MOUNT_PATH, dataset_dir, shard_name
from fusionrun.api.pod import MOUNT_ENV
from fusionrun_stages.errors import UserError


def volume_root() -> Path:
    """Return the mount point of the volume."""
    return Path(os.environ.get(MOUNT_ENV, MOUNT_PATH))


def on_volume(path: str) -> Path:
    """Convert a ``/data/…`` path of the contract to the path below the actual mount point."""
    return volume_root() / Path(path).relative_to(MOUNT_PATH)


def inside_volume(path: str | Path) -> Path:
    """Return the path; raise UserError if it is below the mount point and its symbolic links lead out of it."""
    root = volume_root()
    path = Path(path)
    if path.is_relative_to(root) and not path.resolve().is_relative_to(root.resolve()):
        raise UserError(f"{path}: a symbolic link leads out of the volume, to {path.resolve()}")
    return path


def shard_path(directory: str | Path, index: int, count: int) -> Path:
    """Return the path of a shard's Parquet file in its directory."""
    return Path(directory) / f"{shard_name(index, count)}.parquet"


def dataset_folder(pin: str) -> Path:
    """Return the folder to which ``resolve`` downloads a remote data set; later stages have no network."""
    return on_volume(dataset_dir(pin))
