"""The values of a row: found by the name or path of a column, and converted to text. The only place that does this."""

import datetime
import decimal
import json
import re
import uuid
from collections.abc import Iterable
from typing import Any

from fusionrun_stages.prompts.bad_rows import ROW_MAX_BYTES, BadRowError, longer_than_allowed

STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")
"""A step of a path: a field, or an index of a list."""

PRINTED = (int, datetime.date, datetime.time, datetime.timedelta, uuid.UUID)
"""Types, in JSON and Parquet, whose values are their text; True and False are int, a date with a time is a date."""


def get_value(row: dict[str, Any], column: str) -> Any:
    """Return the value of a column or of a path such as ``conversations[0].value``; None if it is missing."""
    if column in row:
        return row[column]
    value: Any = row
    for field, index in STEP.findall(column):
        if index:
            value = value[int(index)] if isinstance(value, list) and int(index) < len(value) else None
        else:
            value = value.get(field) if isinstance(value, dict) else None
    return value


def find_column(column: str, names: Iterable[str]) -> str | None:
    """Return the column, or for a path the column that contains it; None if it is missing."""
    names = set(names)
    if column in names:
        return column
    first = STEP.match(column)
    root = first[1] if first else None
    return root if root in names else None


def get_text(value: Any) -> str | None:
    """Return a string or number as text; None for a missing value, a list or an object.

    NaN and infinity are missing values: pandas writes NaN for an empty cell. Numbers have no exponent (``0.00001``):
    ``1e-05`` could be read as a product.
    """
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, float):
        value = decimal.Decimal(repr(value))
    if isinstance(value, decimal.Decimal):
        return format(value, "f") if value.is_finite() else None
    return str(value) if isinstance(value, PRINTED) else None


def get_column_text(row: dict[str, Any], column: str | None) -> str | None:
    """Return the text of a column; None if it is missing, or if there is no column."""
    return get_text(get_value(row, column)) if column else None


def no_value(what: str, column: str | None, value: Any) -> BadRowError:
    """Return the error for a column without the value that a row needs; it says how to name a value inside it."""
    hint = ""
    if isinstance(value, list) and value:
        hint = f"it is a list; '{column}[0]' is its first value"
    elif isinstance(value, dict) and value:
        hint = f"it is an object; '{column}.{next(iter(value))}' is its first value"[:200]
    return BadRowError(f"no {what} in column {column!r}", hint)


def parse_tests(value: Any) -> list[str] | None:
    """Return a value's tests; None if it has none, or is something that has no tests.

    A test is a program or a statement, or an object such as a pair of input and output, which becomes JSON text. A
    string may be a JSON list of tests.
    """
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if isinstance(value, str):
        value = _parse_list(value)
    items = value if isinstance(value, list) else [value] if isinstance(value, dict) else []
    return [test for item in items if (test := _to_test(item))] or None


def _parse_list(text: str) -> list[Any]:
    """Return the items of a JSON list; the text itself if it is none."""
    try:
        value = json.loads(text) if text.lstrip().startswith("[") else None
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, list) else [text]


def _to_test(item: Any) -> str | None:
    if isinstance(item, dict):
        return _to_json(item) if item else None
    if not isinstance(item, str | bytes):
        raise BadRowError("a test that is neither a text nor an object")
    return get_text(item)


def _to_json(value: dict[str, Any]) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=get_text)
    except (TypeError, ValueError) as error:  # a key that is no string, from a Parquet map
        raise BadRowError("a test that JSON cannot represent") from error


def check_texts(texts: Iterable[str | None]) -> None:
    """Raise BadRowError if the texts of a row cannot be encoded as UTF-8, or are too long together."""
    text = "\0".join(text for text in texts if text)
    if len(text) > ROW_MAX_BYTES:
        raise longer_than_allowed()
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadRowError("a text that is not Unicode: invalid UTF-8, or a lone surrogate") from error
