"""The progress of a download in bytes, from the sizes of the files on the volume."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fusionrun_stages.work import Report

POLL_SECONDS = 2.0


@contextmanager
def reporting_bytes(folder: Path, total: int, report: Report) -> Iterator[None]:
    """Report the bytes in a folder, incomplete files included, while the body downloads ``total`` bytes to it.

    Nothing is reported while the bytes do not change, so the watchdog sees a download that hangs.
    """
    ended = threading.Event()

    def watch() -> None:
        before = -1
        while not ended.wait(POLL_SECONDS if before >= 0 else 0):
            size = folder_bytes(folder)
            if size != before:
                report(min(size, total), total, "bytes")
            before = size

    thread = threading.Thread(target=watch, name="bytes", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    report(total, total, "bytes")


def folder_bytes(folder: Path) -> int:
    """Return the size of all files of a folder, in bytes. A file may be renamed meanwhile."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:
            continue
    return total
