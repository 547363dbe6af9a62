"""Event files for TensorBoard."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fusionrun_stages.training.trackers import Entry


class TensorBoardFiles:
    """Writes scalars to event files in a folder, which is made with the first entry.

    A training that resumes writes another file, and TensorBoard hides the steps that it repeats (``purge_step``).
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None

    def send(self, entries: Sequence["Entry"]) -> None:
        """Write the numbers of some steps to the file."""
        from tensorboardX import SummaryWriter

        if self._writer is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            first = entries[0].step
            # The name of the file has the second and the host, and an existing file would be overwritten.
            self._writer = SummaryWriter(str(self._folder), purge_step=first, filename_suffix=f".{first}")
        for entry in entries:
            for name, number in entry.numbers.items():
                self._writer.add_scalar(f"train/{name}", number, entry.step, walltime=entry.milliseconds / 1000)
        self._writer.flush()

    def close(self, *, succeeded: bool) -> None:  # noqa: ARG002 - an event file has no state
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
