"""Rows of CSV files, in bounded memory.

A quote that is not closed, or that does not end its field, is refused: Python's reader would put the rows that follow
into one field.
"""

import csv
import io
from collections.abc import Iterator
from typing import BinaryIO

from fusionrun_stages.errors import UserError
from fusionrun_stages.prompts.bad_rows import ROW_MAX, ROW_MAX_BYTES, BadRowError, RawRow

ADVICE = {
    "unexpected end of data": "a quote is not closed",
    "',' expected after '\"'": "text after a closing quote; a quote inside a field must be doubled",
}
"""Messages of Python's ``csv`` in other words."""


def read_csv_rows(name: str, stream: BinaryIO) -> Iterator[tuple[int, RawRow | BadRowError]]:
    """Yield every row with the number of its first line."""
    csv.field_size_limit(ROW_MAX_BYTES)
    with io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        reader = csv.reader(_lines(name, text), strict=True)
        header: list[str] = []
        while True:
            start = reader.line_num + 1
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                end = f", up to line {reader.line_num}" if reader.line_num > start else ""
                raise UserError(f"{name}:{start}{end}: not CSV: {ADVICE.get(str(error), error)}") from error
            if not header:
                header = fields
            elif len(fields) > len(header):
                yield start, BadRowError("more fields than the header")
            elif fields:
                yield start, dict(zip(header, fields, strict=False))


def _lines(name: str, text: io.TextIOWrapper) -> Iterator[str]:
    number = 0
    while line := text.readline(ROW_MAX_BYTES + 1):
        number += 1
        if len(line) > ROW_MAX_BYTES:
            raise UserError(f"{name}:{number}: a line longer than {ROW_MAX}, the limit for a row")
        yield line
