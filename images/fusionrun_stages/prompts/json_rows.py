"""Rows of JSON files: one object per line, or one array of objects. Both are read row by row, in bounded memory.

Bytes that are not UTF-8 become lone surrogates: a row is only bad if a column that is used has them.
"""

import io
import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from fusionrun_stages.errors import UserError
from fusionrun_stages.prompts.bad_rows import (
    ROW_MAX,
    ROW_MAX_BYTES,
    BadRowError,
    RawRow,
    has_too_many_values,
    longer_than_allowed,
    too_many_values,
)

BOM = b"\xef\xbb\xbf"
BLANKS = " \t\r\n"
"""White space of JSON. Source: RFC 8259, section 2."""
CHUNK_CHARACTERS = 2**20
FORM = "a JSON file has one row per line, or is an array of rows"


def read_json_rows(name: str, stream: BinaryIO) -> Iterator[tuple[int, RawRow | BadRowError]]:
    """Yield every row with its number: of its line, or of the element of the array."""
    is_array = _starts_array(stream)
    stream.seek(0)
    return _array(name, stream) if is_array else _lines(name, stream)


def _starts_array(stream: BinaryIO) -> bool:
    head = stream.read(4096).removeprefix(BOM).lstrip()
    while not head and (chunk := stream.read(4096)):
        head = chunk.lstrip()
    return head.startswith(b"[")


def _lines(name: str, stream: BinaryIO) -> Iterator[tuple[int, RawRow | BadRowError]]:
    number = 0
    while line := stream.readline(ROW_MAX_BYTES + 1):
        number += 1
        if len(line) > ROW_MAX_BYTES:
            while line and not line.endswith(b"\n"):
                line = stream.readline(ROW_MAX_BYTES)
            yield number, longer_than_allowed()
            continue
        text = (line.removeprefix(BOM) if number == 1 else line).decode("utf-8", "surrogateescape")
        if text.strip():
            yield number, _parse_line(text, f"{name}:{number}", FORM if number == 1 else "")


def _parse_line(text: str, where: str, hint: str) -> RawRow | BadRowError:
    if has_too_many_values(text):
        return too_many_values()
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: not JSON: {error}{hint and f'; {hint}'}") from error
    except RecursionError:
        return BadRowError("its JSON is nested too deeply")
    except ValueError:  # Python's limit for the digits of an integer
        return BadRowError("an integer with too many digits")
    if not isinstance(value, dict):
        raise UserError(f"{where}: a row must be a JSON object, got {text.strip()[:40]!r}")
    return value


def _array(name: str, stream: BinaryIO) -> Iterator[tuple[int, RawRow]]:
    with io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape") as text:
        yield from _elements(name, _Buffer(text))


def _elements(name: str, text: "_Buffer") -> Iterator[tuple[int, RawRow]]:
    text.take()  # the bracket
    number = 0
    separator = text.take() if text.peek() == "]" else ","
    while separator == ",":
        number += 1
        if text.peek() != "{":
            raise UserError(f"{name}:{number}: a row must be a JSON object, got {text.rest()!r}")
        yield number, _decode(text, f"{name}:{number}")
        separator = text.take()
    if separator != "]":
        got = repr(separator + text.rest()) if separator else "the end of the file"
        raise UserError(f"{name}:{number}: not JSON: a comma or bracket must follow the row, got {got}")
    if text.peek():
        raise UserError(f"{name}: not JSON: the file goes on after its array: {text.rest()!r}")


def _decode(text: "_Buffer", where: str) -> RawRow:
    """Return the object at the start of the text; read on until it is complete."""
    while True:
        try:
            row: RawRow = text.decode()
        except json.JSONDecodeError as error:
            if text.size > ROW_MAX_BYTES:
                raise UserError(f"{where}: not JSON, or longer than {ROW_MAX}, the limit for a row") from error
            if has_too_many_values(text.rest(None)):
                raise UserError(f"{where}: {too_many_values()}") from error
            if not text.fill():
                raise UserError(f"{where}: not JSON: {error.msg}") from error
        except RecursionError as error:
            raise UserError(f"{where}: not readable: its JSON is nested too deeply") from error
        except ValueError as error:
            raise UserError(f"{where}: not readable: an integer with too many digits") from error
        else:
            return row


class _Buffer:
    """The part of a text that is not decoded yet."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self._decoder = json.JSONDecoder()
        self._buffer, self._position = "", 0

    @property
    def size(self) -> int:
        return len(self._buffer) - self._position

    def fill(self) -> bool:
        """Read on, more if there is much already: an object is decoded again after each time."""
        more = self._text.read(max(CHUNK_CHARACTERS, min(self.size, 4 * CHUNK_CHARACTERS)))
        self._buffer, self._position = self._buffer[self._position :] + more, 0
        return bool(more)

    def peek(self) -> str:
        """Skip white space; return the next character, or an empty string at the end."""
        while True:
            while self._position < len(self._buffer):
                character = self._buffer[self._position]
                if character not in BLANKS:
                    return character
                self._position += 1
            if not self.fill():
                return ""

    def take(self) -> str:
        """Return the next character, as ``peek``, and go on after it."""
        character = self.peek()
        self._position += 1
        return character

    def rest(self, characters: int | None = 40) -> str:
        """Return the next characters, for a message; all that are read for None."""
        return self._buffer[self._position :][:characters]

    def decode(self) -> Any:
        """Return the value at the position, and go to its end."""
        value, self._position = self._decoder.raw_decode(self._buffer, self._position)
        return value
