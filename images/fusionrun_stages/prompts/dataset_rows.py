"""Usable rows of data sets: a prompt, the columns that its task needs, and responses.

Unusable rows are counted by reason; missing values are never guessed.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusionrun.api.artifacts import claim_path
from fusionrun.api.data import Columns, Grader, Task
from fusionrun.api.parameters import DatasetParameters
from fusionrun.api.records import Prompt, replace_surrogates
from fusionrun_stages.errors import InfrastructureError
from fusionrun_stages.prompts.counts import PromptCounts
from fusionrun_stages.prompts.dataset_files import (
    DataFile,
    RawRow,
    get_text,
    get_value,
    open_files,
    read_raw_rows,
)
from fusionrun_stages.volume.paths import dataset_folder, on_volume

PromptKey = int
"""64-bit hash of a prompt's text, with normalised white space, and its task."""


@dataclass(frozen=True, slots=True)
class DatasetRow:
    """A usable row of a data set."""

    key: PromptKey
    normalized: str
    """The prompt with normalised white space."""
    text: str
    answer: str | None
    tests: list[str] | None
    entry_point: str | None
    category: str | None
    solution: str | None
    responses: dict[str, str]
    """By source."""

    def prompt_id(self, dataset: DatasetParameters) -> str:
        """Return the identifier of the prompt of a data set."""
        return hash_text(f"{dataset.name}\0{self.normalized}")[:16]

    def to_prompt(self, dataset: DatasetParameters) -> Prompt:
        """Return the row of the prompt shards."""
        return Prompt(
            prompt_id=self.prompt_id(dataset),
            dataset=dataset.name,
            task=dataset.task,
            prompt=self.text,
            answer=self.answer,
            tests=self.tests,
            entry_point=self.entry_point,
        )


def open_dataset(dataset: DatasetParameters, field: str) -> list[DataFile]:
    """Find and check a data set's files on the volume; ``field`` is ``datasets`` or ``benchmarks``.

    Raise UserError if the data set is missing, empty or lacks a column.
    """
    where = f"{field}[{dataset.name}]"
    if dataset.uri.startswith("pvc://"):
        path = on_volume(claim_path(dataset.uri))
    elif dataset.uri.startswith("/"):
        path = Path(dataset.uri)
    else:
        path = dataset_folder(dataset.revision or "")
        if not dataset.revision or not path.is_dir():
            raise InfrastructureError(
                f"{where}: {dataset.uri}@{dataset.revision} is not on the volume: resolve must download it first"
            )
    return open_files(path, dataset.split, wanted_columns(dataset), where)


def wanted_columns(dataset: DatasetParameters) -> list[str]:
    """List the columns that a data set must have."""
    return [*dict.fromkeys([*dataset.columns.named(), *dataset.responses_columns.values()])]


def parse_tests(value: Any) -> list[str] | None:
    """Return a value's tests as a list of programs or statements; a string may be a JSON list of them."""
    if isinstance(value, str):
        if value.lstrip().startswith("["):
            try:
                return parse_tests(json.loads(value))
            except (ValueError, RecursionError):
                pass
        return [value] if value.strip() else None
    if isinstance(value, list):
        return [str(test) for test in value if str(test).strip()] or None
    return None


def get_prompt(row: RawRow, columns: Columns) -> str | None:
    """Return a row's prompt, followed by its context, if any, on a new line.

    Source: LLaMA-Factory on the Alpaca format: the query follows the prompt on a new line.
    """
    text = get_text(get_value(row, columns.prompt))
    context = get_text(get_value(row, columns.context)) if columns.context else None
    return f"{text}\n{context}" if text and context else text


def get_response(value: Any) -> str | None:
    """Return a value's response: the string, or the assistant's last turn in a conversation."""
    if not isinstance(value, list):
        return get_text(value)
    turns = [t for t in value if isinstance(t, dict) and (t.get("role") or t.get("from")) in ("assistant", "gpt")]
    return get_text(turns[-1].get("content") or turns[-1].get("value")) if turns else None


@dataclass(frozen=True)
class DatasetReader:
    """Reads the data sets of one stage, any number of times."""

    files: dict[str, list[DataFile]]
    independent: bool
    """Whether more than one data set may have the same prompt, as benchmarks may."""

    def rows(self, dataset: DatasetParameters, counts: PromptCounts | None = None) -> Iterator[DatasetRow]:
        """Yield the usable rows of a data set; count all rows in ``counts``."""
        counts = counts if counts is not None else PromptCounts()
        columns = dataset.columns
        for where, row in read_raw_rows(self.files[dataset.name], wanted_columns(dataset)):
            counts.rows += 1
            text = get_prompt(row, columns)
            answer, entry_point, category, solution = (
                get_text(get_value(row, column)) if column else None
                for column in (columns.answer, columns.entry_point, columns.category, columns.solution)
            )
            tests = parse_tests(get_value(row, columns.tests)) if columns.tests else None
            responses = {
                source: response
                for source, column in sorted(dataset.responses_columns.items())
                if (response := get_response(get_value(row, column))) is not None
            }
            texts = [text, answer, *(tests or ()), entry_point, category, solution, *responses.values()]
            if text is None or (reason := find_missing_value(dataset, answer, tests) or find_encoding_error(texts)):
                reason = f"no prompt in column {columns.prompt!r}" if text is None else reason
                counts.bad[reason] += 1
                # The name of a file may be invalid Unicode, too.
                counts.first_bad = counts.first_bad or replace_surrogates(f"{where}: {reason}")
                continue
            normalized = " ".join(text.split())
            yield DatasetRow(
                key=int(hash_text(f"{dataset.name if self.independent else dataset.task}\0{normalized}")[:16], 16),
                normalized=normalized,
                text=text,
                answer=answer,
                tests=tests,
                entry_point=entry_point,
                category=category,
                solution=solution,
                responses=responses,
            )


def find_missing_value(dataset: DatasetParameters, answer: str | None, tests: list[str] | None) -> str:
    """Return why a row lacks a value that its task needs; empty if it lacks none."""
    if dataset.task in (Task.MATHEMATICS, Grader.MATHEMATICS, Grader.EXACT_MATCH) and answer is None:
        return f"no answer in column {dataset.columns.answer!r}"
    if dataset.task in (Task.CODING, Grader.CODING) and not tests:
        return f"no tests in column {dataset.columns.tests!r}"
    return ""


def find_encoding_error(texts: Iterable[str | None]) -> str:
    """Return why a text of a row cannot be encoded as UTF-8; empty if all texts can."""
    try:
        "\0".join(text for text in texts if text).encode()
    except UnicodeEncodeError:
        return "a text with a lone surrogate, which is not Unicode"
    return ""


def hash_text(text: str) -> str:
    """Return the SHA-256 hash of a text in hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()
