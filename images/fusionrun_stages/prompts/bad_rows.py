"""Rows of a data set that cannot be used, and the largest row that is read."""

from typing import Any

RawRow = dict[str, Any]
"""A row as it is in a file, by column."""

ROW_MAX_BYTES = 32 * 2**20
"""Largest row: a longer one does not fit a model's context, and would not fit the memory of a pod as Python objects."""
ROW_MAX = f"{ROW_MAX_BYTES // 2**20} MiB"
VALUES_MAX = 2_000_000
"""Most values of a JSON row: an empty list has 2 bytes in a file, and 64 as a Python object."""


class BadRowError(Exception):
    """A row, or a response in it, cannot be used. It is counted, and the rest of the data set is read.

    Readers return it in place of a row; what reads the values of a row raises it.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        """Rows are counted by it, so it does not contain values of the row."""


class NoTestsError(Exception):
    """The prompt of a row has no tests. Such rows are usual in a data set whose tests are in the prompts."""


def longer_than_allowed() -> BadRowError:
    """Return the error for a row above ``ROW_MAX_BYTES``."""
    return BadRowError(f"longer than {ROW_MAX}, the limit for a row")


def has_too_many_values(text: str) -> bool:
    """Return whether a JSON text has more than ``VALUES_MAX`` values, about; a small text is not counted."""
    return len(text) > VALUES_MAX and sum(map(text.count, "[{,")) > VALUES_MAX


def too_many_values() -> BadRowError:
    """Return the error for a row above ``VALUES_MAX``."""
    return BadRowError(f"more than {VALUES_MAX} values, the limit for a row")
