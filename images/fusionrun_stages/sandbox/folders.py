"""The folders that programs run in: one for each handler, bounded, and empty for the next program."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from fusionrun.api.sandbox import PROGRAM_FOLDER_BYTES

FILES_MAX = 1024
"""Files and folders of one program. Each takes some kernel memory of the pod's, whatever its own limit is."""
OUTSIDE_POD = 64
"""Handlers at once where no folders are given."""


class Places:
    """The folders, and which handler has which."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._free: list[Path | None] = [*folders] or [None] * OUTSIDE_POD
        self._held: dict[int, Path] = {}

    def take(self) -> Path:
        """Return a free folder, emptied of what a killed handler left; wait until there is one."""
        self._reap(os.WNOHANG)
        while not self._free:
            self._reap(0)
        folder = self._free.pop(0) or Path(tempfile.mkdtemp(prefix="place-"))
        with suppress(OSError):
            empty(folder)
        return folder

    def give_back(self, folder: Path) -> None:
        """Take a folder back that no handler got."""
        self._free.append(folder)

    def hold(self, handler: int, folder: Path) -> None:
        """Keep the folder for a handler until its process ends."""
        self._held[handler] = folder

    def _reap(self, options: int) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, options)[0]) != 0:
                if ended in self._held:  # else an orphan, which came to us as the container's first process
                    self._free.append(self._held.pop(ended))
                    options = os.WNOHANG


@contextmanager
def program_folder(place: Path) -> Iterator[Path]:
    """Make a program's folder, and remove it with all that it has become."""
    folder = Path(tempfile.mkdtemp(prefix="program-", dir=place))
    try:
        yield folder
    finally:
        folder.chmod(0o700)
        empty(folder)
        folder.rmdir()


def find_excess(folder: Path) -> str | None:
    """Say what a program has too much of in its folder; None when all is well."""
    waiting, count, size = [str(folder)], 0, 0
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    count += 1
                    size += entry.stat(follow_symlinks=False).st_blocks * 512
                    if count > FILES_MAX:
                        return f"it made more than {FILES_MAX} files"
                    if size > PROGRAM_FOLDER_BYTES:
                        return f"it wrote more than {PROGRAM_FOLDER_BYTES // 2**20} MiB"
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except FileNotFoundError:
            continue  # it removes files meanwhile
        except OSError:
            return "it made a folder that nobody can list"
    return None


def empty(folder: Path) -> None:
    """Remove all that is in a folder, also what was made unreadable, and nested deeper than a path may be long.

    Notes
    -----
    What a folder holds is moved up before it is removed, so that no path gets long and nothing recurs.
    """
    moved, unguessed = 0, os.urandom(8).hex()
    while entries := list(os.scandir(folder)):
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)  # noqa: PTH108 (thousands of them)
                continue
            os.chmod(entry.path, 0o700)  # noqa: PTH101
            for inner in list(os.scandir(entry.path)):
                if inner.is_dir(follow_symlinks=False):
                    os.chmod(inner.path, 0o700)  # noqa: PTH101 (or it could not get another parent)
                    moved += 1
                    os.rename(inner.path, f"{folder}/.{unguessed}-{moved}")  # noqa: PTH104
                else:
                    os.unlink(inner.path)  # noqa: PTH108
            os.rmdir(entry.path)  # noqa: PTH106
