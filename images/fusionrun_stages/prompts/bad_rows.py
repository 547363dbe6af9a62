"""Rows of a data set that cannot be used, and the largest row that is read."""

from typing import Any

RawRow = dict[str, Any]
"""A row as it is in a file, by column."""

ROW_MAX_BYTES = 32 * 2**20
"""Largest row: a longer one does not fit a model's context, and would not fit the memory of a pod as Python objects."""
ROW_MAX = f"{ROW_MAX_BYTES // 2**20} MiB"


class BadRowError(Exception):
    """A row, or a response in it, cannot be used. It is counted, and the rest of the data set is read.

    Readers return it in place of a row; what reads the values of a row raises it.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        """Rows are counted by it, so it does not contain values of the row."""


def longer_than_allowed() -> BadRowError:
    """Return the error for a row above ``ROW_MAX_BYTES``."""
    return BadRowError(f"longer than {ROW_MAX}, the limit for a row")
