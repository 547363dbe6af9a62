"""Index of the replies of a judge that this pod or its predecessors have stored for a shard.

A shard may have a million replies of several KiB each, so memory holds only the hash of each request and the position
of its reply: about 200 bytes per request.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Self

from fusionrun.api.evaluation_records import Judgement
from fusionrun_stages.client.stored_responses import OFFSET_BITS
from fusionrun_stages.volume.json_lines import JsonLines, read_json_lines_at

KEY_BYTES = 16
"""Bytes of a hash in memory: two of a million requests share them with a probability of 1e-27."""

Asked = bytes
"""A request and the number of its attempt: an attempt with the same messages is another request."""


def asked(key: str, attempt: int) -> Asked:
    """Return the name of a request in memory."""
    return bytes.fromhex(key)[:KEY_BYTES] + attempt.to_bytes(2)


class StoredJudgements:
    """Stored rows of the part files of every pod; a context manager. If a reply is stored twice, the first is used."""

    def __init__(self, parts: list[Path]) -> None:
        self._paths = list(parts)
        self._files: dict[int, IO[bytes]] = {}
        self._positions: dict[Asked, int] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __len__(self) -> int:
        return len(self._positions)

    def index(self) -> Iterator[Judgement]:
        """Record the position of every reply, and yield each one once."""
        for number, path in enumerate(self._paths):
            for offset, row in read_json_lines_at(path, Judgement):
                name = asked(row.key, row.attempt)
                if name not in self._positions:
                    self._positions[name] = (number << OFFSET_BITS) + offset
                    yield row

    def append(self, lines: JsonLines, row: Judgement) -> None:
        """Append a row to the file of this pod."""
        if lines.path not in self._paths:
            self._paths.append(lines.path)
        position = (self._paths.index(lines.path) << OFFSET_BITS) + lines.append(row)
        self._positions.setdefault(asked(row.key, row.attempt), position)

    def __contains__(self, name: object) -> bool:
        return name in self._positions

    def find(self, name: Asked) -> Judgement | None:
        """Return the stored reply to a request; None if there is none."""
        position = self._positions.get(name)
        if position is None:
            return None
        number, offset = divmod(position, 1 << OFFSET_BITS)
        if number not in self._files:
            self._files[number] = self._stack.enter_context(self._paths[number].open("rb"))
        file = self._files[number]
        file.seek(offset)
        return Judgement.model_validate_json(file.readline())
