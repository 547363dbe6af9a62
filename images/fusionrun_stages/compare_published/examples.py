"""The rows of both sides as examples: key of the prompt, source and answers. Files are read row by row.

Source of the published columns: programs that read the files. SFT: ``conversations`` (``from``: human or gpt,
``value``), ``dataset``, ``source_model``. DPO: ``prompt``, ``chosen`` and ``rejected`` (``role``, ``content``),
``dataset``, ``source_model``.
"""

import hashlib
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from fusionrun.api.artifacts import HELD_OUT_FILE, PAIRS_FILE, SFT_FILE
from fusionrun.api.spec.data import Turns
from fusionrun_stages.errors import UserError
from fusionrun_stages.prompts.bad_rows import BadRowError
from fusionrun_stages.prompts.chats import Role, parse_chat
from fusionrun_stages.prompts.dataset_files import open_files, read_raw_rows
from fusionrun_stages.prompts.turns import PromptTurns, find_turns


class Kind(StrEnum):
    """Kind of a row."""

    SFT = "sft"
    PAIR = "pair"


COLUMNS = {Kind.SFT: "conversations", Kind.PAIR: "prompt"}
"""Published columns with the prompt."""


class Example(NamedTuple):
    """An SFT row or a pair."""

    kind: Kind
    dataset: str
    model: str
    prompt: int
    """64-bit hash of its turns, with normalised white space."""
    turns: int
    prompt_characters: int
    answers: tuple[str, ...]
    """The response, or the chosen and the rejected one."""
    has_marks: bool
    """Whether several turns are in one message, with HelpSteer2's marks."""
    has_system: bool


def read_published(path: Path, kind: Kind) -> Iterator[Example | BadRowError]:
    """Yield the published rows of a kind; raise UserError if the file has another format."""
    answers = [] if kind is Kind.SFT else ["chosen", "rejected"]
    return _read(path, kind, COLUMNS[kind], answers)


def read_run(folder: Path) -> Iterator[Example | BadRowError]:
    """Yield the rows and pairs of a run, held-out pairs included.

    ``folder`` is the artifact of ``construct`` or a published copy of it.
    """
    for name, kind, column in (
        (SFT_FILE, Kind.SFT, "messages"),
        (PAIRS_FILE, Kind.PAIR, "prompt"),
        (HELD_OUT_FILE, Kind.PAIR, "prompt"),
    ):
        path = folder / name
        if not path.is_file():
            raise UserError(f"{folder}: no {name}: it must be the artifact of construct or a copy of it")
        if name == SFT_FILE or _has_rows(path):
            yield from _read(path, kind, column, [] if kind is Kind.SFT else ["chosen", "rejected"])


def _has_rows(path: Path) -> bool:
    import pyarrow.parquet as pq

    return bool(pq.read_metadata(path).num_rows)


def _read(path: Path, kind: Kind, column: str, answers: list[str]) -> Iterator[Example | BadRowError]:
    needed = [column, *answers, "dataset"]
    files = open_files(path, "train", needed, str(path))
    for _, raw in read_raw_rows(files, [*needed, "source_model", "source"]):
        try:
            if isinstance(raw, BadRowError):
                raise raw
            yield _to_example(raw, kind, column, answers)
        except BadRowError as error:
            yield error


def _to_example(raw: dict[str, Any], kind: Kind, column: str, answers: list[str]) -> Example:
    found = find_turns(raw[column], Turns.ALL) if raw.get(column) else None
    if found is None:
        raise BadRowError(f"no prompt in column {column!r}")
    # HelpSteer2's marks may be in the only turn of a published chat.
    marked = None if found.history else find_turns(found.prompt, Turns.ALL)
    has_marks = bool(marked and marked.history) and not isinstance(raw[column], str)
    found = marked or found
    texts = [*(message.content for message in found.history), found.prompt]
    chat = parse_chat(raw[column]) or []
    return Example(
        kind=kind,
        dataset=sys.intern(str(raw.get("dataset"))),
        model=sys.intern(str(raw.get("source_model") or raw.get("source"))),
        prompt=_key(found),
        turns=len(texts),
        prompt_characters=sum(map(len, texts)),
        answers=tuple(_answer(raw.get(name), name) for name in answers or [column]),
        has_marks=has_marks,
        has_system=any(turn.name == "system" for turn in chat),
    )


def _answer(value: Any, column: str) -> str:
    """Return the last answer of a chat, or a text."""
    if isinstance(value, str):
        return value
    turns = parse_chat(value) or []
    text = turns[-1].text() if turns and turns[-1].role is Role.ASSISTANT else None
    if text is None:
        raise BadRowError(f"no answer at the end of column {column!r}")
    return text


def _key(found: PromptTurns) -> int:
    turns = [message.content for message in found.history] + [found.prompt]
    return hash_of("\0".join(" ".join(turn.split()) for turn in turns))


def hash_of(text: str) -> int:
    """Return a 64-bit hash of a text, which may have lone surrogates."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8])
