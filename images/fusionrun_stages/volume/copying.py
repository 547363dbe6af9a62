"""Copies of files and folders for publication. They never follow a symbolic link."""

import errno
import os
import shutil
import stat
from pathlib import Path

from fusionrun_stages.errors import UserError


def copy_folder(source: Path, destination: Path) -> None:
    """Copy a folder that has only regular files and folders.

    Whoever can write to the volume could otherwise publish any file that the pod can read, such as
    ``/proc/self/environ`` with its credentials.

    Raises
    ------
    UserError
        If the folder contains a symbolic link or a special file.
    """
    for folder, folders, files, descriptor in os.fwalk(source, follow_symlinks=False):
        target = destination / Path(folder).relative_to(source)
        target.mkdir(parents=True)
        for name in folders:
            if stat.S_ISLNK(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode):
                raise _refused(Path(folder) / name)
        for name in files:
            _copy(Path(folder) / name, target / name, descriptor)


def copy_file(source: Path, destination: Path) -> None:
    """Copy a regular file; raise UserError for a symbolic link or a special file."""
    _copy(source, destination, None)


def _copy(source: Path, destination: Path, folder: int | None) -> None:
    path = source.name if folder is not None else source
    try:
        # Without O_NONBLOCK, opening a pipe would wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise _refused(source) from error
        raise
    with open(descriptor, "rb") as reading, destination.open("xb") as writing:  # noqa: PTH123 -- a descriptor
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _refused(source)
        shutil.copyfileobj(reading, writing, 2**20)


def _refused(path: Path) -> UserError:
    return UserError(f"{path}: is not a regular file or folder, so it is not published: replace it by its content")
