"""Folders for programs: one per handler, limited in size, emptied for the next program."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from fusionrun.api.sandbox import PROGRAM_FOLDER_BYTES

FILES_MAX = 1024
"""Maximum files and folders of one program: each uses kernel memory of the pod."""
OUTSIDE_POD = 64
"""Maximum handlers at once if no folders are given."""


class FolderPool:
    """The free folders, and the handlers of the folders in use."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._free: list[Path | None] = [*folders] or [None] * OUTSIDE_POD
        self._held: dict[int, Path] = {}

    def take(self) -> Path:
        """Wait for a free folder, remove the files of a killed handler from it, and return it."""
        self._reap(os.WNOHANG)
        while not self._free:
            self._reap(0)
        folder = self._free.pop(0) or Path(tempfile.mkdtemp(prefix="handler-"))
        with suppress(OSError):
            empty_folder(folder)
        return folder

    def give_back(self, folder: Path) -> None:
        """Return a folder that no handler uses."""
        self._free.append(folder)

    def assign(self, handler: int, folder: Path) -> None:
        """Assign the folder to a handler until its process ends."""
        self._held[handler] = folder

    def _reap(self, options: int) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, options)[0]) != 0:
                if ended in self._held:  # else an orphan: this is the container's first process
                    self._free.append(self._held.pop(ended))
                    options = os.WNOHANG


@contextmanager
def program_folder(parent: Path) -> Iterator[Path]:
    """Create a folder for a program, and remove it with its contents."""
    folder = Path(tempfile.mkdtemp(prefix="program-", dir=parent))
    try:
        yield folder
    finally:
        folder.chmod(0o700)
        empty_folder(folder)
        folder.rmdir()


def find_excess(folder: Path) -> str | None:
    """Return the limit that the files of a program exceed, or None."""
    pending, count, size = [str(folder)], 0, 0
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    count += 1
                    size += entry.stat(follow_symlinks=False).st_blocks * 512
                    if count > FILES_MAX:
                        return f"it created more than {FILES_MAX} files"
                    if size > PROGRAM_FOLDER_BYTES:
                        return f"it wrote more than {PROGRAM_FOLDER_BYTES // 2**20} MiB"
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
        except FileNotFoundError:
            continue  # the program has removed it
        except OSError:
            return "it created a folder that cannot be listed"
    return None


def empty_folder(folder: Path) -> None:
    """Remove the contents of a folder, also unreadable folders and those nested deeper than the longest path.

    Nested folders are moved up before they are removed. So paths stay short, and there is no recursion.
    """
    moved, prefix = 0, os.urandom(8).hex()  # the program cannot guess the prefix
    while entries := list(os.scandir(folder)):
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)  # noqa: PTH108 (thousands of them)
                continue
            os.chmod(entry.path, 0o700)  # noqa: PTH101
            for inner in list(os.scandir(entry.path)):
                if inner.is_dir(follow_symlinks=False):
                    os.chmod(inner.path, 0o700)  # noqa: PTH101 (a folder without write permission cannot be moved)
                    moved += 1
                    os.rename(inner.path, f"{folder}/.{prefix}-{moved}")  # noqa: PTH104
                else:
                    os.unlink(inner.path)  # noqa: PTH108
            os.rmdir(entry.path)  # noqa: PTH106
