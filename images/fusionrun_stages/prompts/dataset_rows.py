"""The rows of the data sets as items: a prompt with what its task needs, and the responses that its row brings.

What a row lacks is counted, never guessed.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fusionrun.api.artifacts import claim_path
from fusionrun.api.data import Columns, Grader, Subject, Task
from fusionrun.api.parameters import DatasetParameters
from fusionrun.api.records import Prompt, replace_surrogates
from fusionrun_stages.errors import InfrastructureError, UserError
from fusionrun_stages.prompts.tables import DataFile, Row, cell, check_columns, local_files, read_rows, text_of
from fusionrun_stages.volume.paths import dataset_folder, on_volume

Key = int
"""64 bits of a prompt's identity: text without regard to white space, and task."""


@dataclass(frozen=True, slots=True)
class Item:
    """A usable row of a data set."""

    key: Key
    normal: str
    """The prompt without regard to white space."""
    text: str
    answer: str | None
    tests: list[str] | None
    entry_point: str | None
    category: str | None
    solution: str | None
    responses: dict[str, str]
    """By source."""

    def prompt_id(self, dataset: DatasetParameters) -> str:
        """Return the prompt's identifier in a data set."""
        return hash_of(f"{dataset.name}\0{self.normal}")[:16]

    def prompt_of(self, dataset: DatasetParameters) -> Prompt:
        """Return the row to be stored."""
        return Prompt(
            prompt_id=self.prompt_id(dataset),
            dataset=dataset.name,
            task=dataset.task,
            prompt=self.text,
            answer=self.answer,
            tests=self.tests,
            entry_point=self.entry_point,
        )


@dataclass
class Tally:
    """What became of the rows of one data set."""

    rows: int = 0
    prompts: int = 0
    duplicates: int = 0
    near_duplicates: int = 0
    code: int = 0
    mathematics: int = 0
    contaminated: int = 0
    over_limit: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    """Rows that cannot be used, by reason."""
    first_bad: str = ""
    near_examples: list[str] = field(default_factory=list)
    """How the first near duplicates begin."""

    @property
    def bad_rows(self) -> int:
        """Rows that cannot be used."""
        return self.bad.total()

    def count_subject(self, subject: Subject) -> None:
        """Count a prompt that is left out for what it is about."""
        if subject is Subject.CODE:
            self.code += 1
        else:
            self.mathematics += 1


COUNTED = ("prompts", "duplicates", "near_duplicates", "code", "mathematics", "contaminated", "over_limit", "bad_rows")


def open_dataset(dataset: DatasetParameters, what: str) -> list[DataFile]:
    """Find a data set's files on the volume and check them.

    Raises
    ------
    UserError
        If it is missing, empty or lacks a column.
    """
    where = f"{what}[{dataset.name}]"
    if dataset.uri.startswith("pvc://"):
        path = on_volume(claim_path(dataset.uri))
    elif dataset.uri.startswith("/"):
        path = Path(dataset.uri)
    else:
        path = dataset_folder(dataset.revision or "")
        if not dataset.revision or not path.is_dir():
            raise InfrastructureError(
                f"{where}: {dataset.uri}@{dataset.revision} is not on the volume: resolve brings it"
            )
    try:
        files = local_files(path, dataset.split)
        check_columns(files, wanted_columns(dataset))
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    return files


def wanted_columns(dataset: DatasetParameters) -> list[str]:
    """List the columns that a data set must have."""
    return [*dict.fromkeys([*dataset.columns.named(), *dataset.responses_columns.values()])]


def tests_of(value: Any) -> list[str] | None:
    """Return a cell's tests as a list of programs or statements; a string may be a JSON list of them."""
    if isinstance(value, str):
        if value.lstrip().startswith("["):
            try:
                return tests_of(json.loads(value))
            except (ValueError, RecursionError):
                pass
        return [value] if value.strip() else None
    if isinstance(value, list):
        return [str(test) for test in value if str(test).strip()] or None
    return None


def prompt_text(row: Row, columns: Columns) -> str | None:
    """Return a row's prompt with its context, if any, on a new line.

    Notes
    -----
    Source: LLaMA-Factory's reading of Alpaca's form, where the query follows the prompt on a new line.
    """
    text = text_of(cell(row, columns.prompt))
    context = text_of(cell(row, columns.context)) if columns.context else None
    return f"{text}\n{context}" if text and context else text


def response_of(value: Any) -> str | None:
    """Return a cell's response: itself, or the last turn of the assistant in a conversation."""
    if isinstance(value, list):
        turns = [t for t in value if isinstance(t, dict)]
        said = [
            t.get("content") or t.get("value")
            for t in turns
            if (t.get("role") or t.get("from")) in ("assistant", "gpt")
        ]
        return text_of(said[-1]) if said else None
    return text_of(value)


@dataclass(frozen=True)
class Reader:
    """Reads the data sets of one stage, as often as it is asked."""

    files: dict[str, list[DataFile]]
    apart: bool
    """Whether each data set stands alone: the same prompt in two benchmarks is measured in both."""

    def items(self, dataset: DatasetParameters, tally: Tally | None = None) -> Iterator[Item]:
        """Yield the usable rows of a data set; count the others in ``tally``."""
        tally = tally if tally is not None else Tally()
        columns = dataset.columns
        for where, row in read_rows(self.files[dataset.name], wanted_columns(dataset)):
            tally.rows += 1
            text = prompt_text(row, columns)
            answer = text_of(cell(row, columns.answer)) if columns.answer else None
            tests = tests_of(cell(row, columns.tests)) if columns.tests else None
            entry_point = text_of(cell(row, columns.entry_point)) if columns.entry_point else None
            category = text_of(cell(row, columns.category)) if columns.category else None
            solution = text_of(cell(row, columns.solution)) if columns.solution else None
            responses = {
                source: found
                for source, column in sorted(dataset.responses_columns.items())
                if (found := response_of(cell(row, column))) is not None
            }
            texts = [text, answer, *(tests or ()), entry_point, category, solution, *responses.values()]
            if text is None or (reason := what_lacks(dataset, answer, tests) or what_is_broken(texts)):
                reason = f"no prompt in column {columns.prompt!r}" if text is None else reason
                tally.bad[reason] += 1
                # The name of a file on the volume may be no Unicode, either.
                tally.first_bad = tally.first_bad or replace_surrogates(f"{where}: {reason}")
                continue
            normal = " ".join(text.split())
            yield Item(
                key=int(hash_of(f"{dataset.name if self.apart else dataset.task}\0{normal}")[:16], 16),
                normal=normal,
                text=text,
                answer=answer,
                tests=tests,
                entry_point=entry_point,
                category=category,
                solution=solution,
                responses=responses,
            )


def what_lacks(dataset: DatasetParameters, answer: str | None, tests: list[str] | None) -> str:
    """Say what a row lacks for its task; empty when it lacks nothing."""
    if dataset.task in (Task.MATHEMATICS, Grader.MATHEMATICS, Grader.EXACT_MATCH) and answer is None:
        return f"no answer in column {dataset.columns.answer!r}"
    if dataset.task in (Task.CODING, Grader.CODING) and not tests:
        return f"no tests in column {dataset.columns.tests!r}"
    return ""


def what_is_broken(texts: Iterable[str | None]) -> str:
    """Say that a text of a row cannot be written as UTF-8; empty when all can."""
    try:
        "\0".join(text for text in texts if text).encode()
    except UnicodeEncodeError:
        return "a text with a lone surrogate, which is not Unicode"
    return ""


def hash_of(text: str) -> str:
    """Return the hash of a text, in hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()
