"""Paths on the volume, and where a pod or a test has mounted it."""

import os
from pathlib import Path

from fusionrun.api.artifacts import MOUNT_PATH, ROOT, shard_name
from fusionrun_stages.errors import UserError

PIN_DIGITS = 12


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


def shard_path(directory: str | Path, index: int, count: int) -> Path:
    """Return the path of a shard's Parquet file in its directory."""
    return Path(directory) / f"{shard_name(index, count)}.parquet"


def dataset_folder(pin: str) -> Path:
    """Return the folder of a remote data set, which ``resolve`` downloads; later stages have no network."""
    return on_volume(f"{ROOT}/datasets/{pin[:PIN_DIGITS]}")
