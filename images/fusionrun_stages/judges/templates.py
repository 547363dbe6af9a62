"""Read the judge's templates, as their owners publish them, and fill them in.

Every error is a UserError that names the file and the placeholder. Values are inserted as they are: a placeholder in a
response is not filled.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

from fusionrun.api.evaluation_records import Question
from fusionrun_stages.errors import UserError

FILE_MAX_BYTES = 4 * 2**20
"""Largest file of a judge; the published ones have at most 150 kB."""
HASH_DIGITS = 12
"""Digits of a hash that are shown."""


@dataclass(frozen=True)
class Template:
    """A text with placeholders."""

    pieces: tuple[tuple[str, str | None], ...]
    """Literal texts, each with the name of the placeholder after it; None after the last."""

    def fill(self, values: dict[str, str]) -> str:
        """Return the text with each placeholder replaced by its value."""
        return "".join(text + (values[name] if name else "") for text, name in self.pieces)


def read_text(folder: Path, name: str) -> str:
    """Return the content of a file of the judge."""
    path = folder / name
    try:
        if path.stat().st_size > FILE_MAX_BYTES:
            raise UserError(f"{path}: the file is larger than {FILE_MAX_BYTES} bytes")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: the file is missing; the judge needs it (docs/evaluation.md)") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}") from None


def format_template(text: str, source: str, names: Collection[str]) -> Template:
    """Parse a template in the syntax of ``str.format``, in which ``{{`` is a brace; each name must occur."""
    pieces: list[tuple[str, str | None]] = []
    try:
        for literal, name, specification, conversion in Formatter().parse(text):
            if specification or conversion:
                raise UserError(f"{source}: {{{name}}} must be a name only, without a conversion or a format")
            pieces.append((literal, name))
    except ValueError as error:
        raise UserError(f"{source}: not a template: {error}") from None
    return _checked(pieces, source, names)


def literal_template(text: str, source: str, names: Collection[str], required: Collection[str]) -> Template:
    """Parse a template in which only the given names in braces are placeholders, and other braces are text."""
    parts = re.split(r"\{(" + "|".join(map(re.escape, names)) + r")\}", text)
    pieces = list(zip(parts[::2], [*parts[1::2], None], strict=True))
    return _checked(pieces, source, required)


def _checked(pieces: Iterable[tuple[str, str | None]], source: str, names: Collection[str]) -> Template:
    template = Template(tuple(pieces))
    found = {name for _, name in template.pieces if name is not None}
    for name in sorted(set(names) - found):
        raise UserError(f"{source}: the placeholder {{{name}}} is missing")
    for name in sorted(found - set(names)):
        raise UserError(f"{source}: {{{name}}} is not a placeholder; allowed: {', '.join(sorted(names))}")
    return template


def shown(hashes: Mapping[str, str]) -> str:
    """Return the names of a judge's files, each with the first digits of its hash; empty if there are none."""
    return ", ".join(f"{name} {sha256[:HASH_DIGITS]}" for name, sha256 in hashes.items())


def reference(question: Question, index: int) -> str:
    """Return the reference of a turn."""
    references = question.references or []
    if index >= len(references):
        rule = f"the judge compares turn {index + 1} with a reference, and there are {len(references)}"
        raise UserError(f"benchmark {question.dataset}, prompt {question.prompt_id}: {rule}")
    return references[index]
