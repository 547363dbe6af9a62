"""One question as its owners publish it, before the protocol puts it into a prompt."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fusionrun.api.spec.evaluation import Grader
from fusionrun_stages.prompts.bad_rows import BadRowError, RawRow
from fusionrun_stages.prompts.values import get_text, get_value, no_value


@dataclass(frozen=True)
class Item:
    """What a layout reads from a row."""

    text: str
    """The question, without the words of the protocol: training prompts are compared with it."""
    key: str | None = None
    """Identifier that the owners give to the question. None if they give none."""
    answer: str | None = None
    options: list[str] | None = None
    category: str | None = None
    """What ``temperatures`` of the protocol refers to."""
    group: str | None = None
    """As in ``Question``."""
    later_turns: list[str] | None = None
    references: list[str] | None = None
    tests: list[str] | None = None
    entry_point: str | None = None
    preamble: str | None = None
    grader: Grader | None = None
    """Grader of this row, if it is not that of the protocol."""
    values: Mapping[str, str] = field(default_factory=dict)
    """Further values for the placeholders of the protocol's template; ``prompt`` replaces ``text`` there."""
    data: Callable[[], Mapping[str, Any]] | Mapping[str, Any] | None = None
    """What only the grader or the judge of this benchmark reads: plain JSON values. A function makes large ones, so
    that they are not decoded where only the text is read; it raises BadRowError if they cannot be used."""

    def check(self) -> None:
        """Raise UnicodeEncodeError if UTF-8 cannot encode a text; ``data`` may have any text."""
        lists = (self.options, self.later_turns, self.references, self.tests)
        single = (self.key, self.answer, self.category, self.group, self.entry_point, self.preamble)
        for text in (self.text, *single, *(text for texts in lists for text in texts or ())):
            (text or "").encode()

    def data_json(self) -> str | None:
        """Return ``data`` as JSON with ASCII characters only: half of a surrogate pair stays what it is."""
        data = self.data() if callable(self.data) else self.data
        return None if data is None else json.dumps(data, default=get_text, separators=(",", ":"))


@dataclass(frozen=True)
class Opened:
    """The files of a benchmark, ready to be read any number of times."""

    rows: Callable[[], Iterator[tuple[str, RawRow | BadRowError]]]
    """Return the rows, each with its location, or why it cannot be read."""
    read: Callable[[RawRow], Item | None]
    """Return the question of a row; None if the row is not part of the benchmark. Raise BadRowError if it is unusable.
    """
    materials: Mapping[str, Path] = field(default_factory=dict)
    """Files to copy to ``materials/``, by the name of the copy."""
    drops_duplicates: bool = False
    """Whether a question that is equal to an earlier one is dropped. The owners' own benchmarks are kept as they are:
    their published scores count every row."""


def required_text(raw: RawRow, what: str, *columns: str) -> str:
    """Return the text of the first of the columns that has one; raise BadRowError if none has."""
    for column in columns:
        text = get_text(get_value(raw, column))
        if text is not None:
            return text
    raise no_value(what, columns[0], get_value(raw, columns[0]))


def optional_text(raw: RawRow, *columns: str) -> str | None:
    """Return the text of the first of the columns that has one; None if none has."""
    return next((text for column in columns if (text := get_text(get_value(raw, column))) is not None), None)


def required_texts(raw: RawRow, what: str, column: str) -> list[str]:
    """Return a column's list of texts; raise BadRowError if it is not a list of texts, or is empty."""
    value = get_value(raw, column)
    texts = [get_text(item) for item in value] if isinstance(value, list) else []
    present = [text for text in texts if text is not None]
    if not texts or len(present) != len(texts):
        raise BadRowError(f"no list of {what} in column {column!r}")
    return present
