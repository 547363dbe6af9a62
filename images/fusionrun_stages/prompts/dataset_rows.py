"""Usable rows of data sets: a prompt, the columns that its task needs, and responses.

Unusable rows are counted by reason; missing values are never guessed.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fusionrun.api.artifacts import claim_path
from fusionrun.api.records import Message, Prompt
from fusionrun.api.spec.data import Task, TestsFrom
from fusionrun.api.spec.evaluation import Grader
from fusionrun.api.tasks.parameters import DatasetParameters
from fusionrun_stages.errors import InfrastructureError, UserError
from fusionrun_stages.prompts.bad_rows import BadRowError, NoTestsError, RawRow
from fusionrun_stages.prompts.chats import find_response
from fusionrun_stages.prompts.counts import PromptCounts
from fusionrun_stages.prompts.dataset_files import DataFile, open_files, read_raw_rows
from fusionrun_stages.prompts.tests_in_prompts import find_tests
from fusionrun_stages.prompts.turns import find_turns
from fusionrun_stages.prompts.values import check_texts, get_column_text, get_value, no_value, parse_tests
from fusionrun_stages.volume.paths import dataset_folder, on_volume

PromptKey = int
"""64-bit hash of a prompt's text, with normalised white space, and its task."""


NEED_ANSWER = (Task.MATHEMATICS, Grader.MATHEMATICS, Grader.EXACT_MATCH, Grader.CHOICE)
NEED_TESTS = (Task.CODING, Grader.CODING)


@dataclass(frozen=True, slots=True)
class DatasetRow:
    """A usable row of a data set."""

    key: PromptKey
    normalized: str
    """The prompt with normalised white space, and the turns before it."""
    history: list[Message]
    """The turns before ``text``."""
    text: str
    answer: str | None
    tests: list[str] | None
    entry_point: str | None
    preamble: str | None
    category: str | None
    solution: str | None
    responses: dict[str, str]
    """By source."""

    @property
    def turns(self) -> list[str]:
        """The texts of all turns."""
        return [*(message.content for message in self.history), self.text]

    @property
    def whole_text(self) -> str:
        """The texts of all turns, each on new lines."""
        return "\n".join(self.turns)

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
            history=self.history or None,
            answer=self.answer,
            tests=self.tests,
            entry_point=self.entry_point,
            preamble=self.preamble,
        )


def dataset_path(dataset: DatasetParameters, where: str) -> Path:
    """Return the file or folder of a data set on the volume; errors start with ``where``.

    Raise InfrastructureError if ``resolve`` has not downloaded it.
    """
    if dataset.uri.startswith("pvc://"):
        return on_volume(claim_path(dataset.uri))
    if dataset.uri.startswith("/"):
        return Path(dataset.uri)
    path = dataset_folder(dataset.revision or "")
    if not dataset.revision or not path.is_dir():
        raise InfrastructureError(
            f"{where}: {dataset.uri}@{dataset.revision} is not on the volume: resolve must download it first"
        )
    return path


def open_dataset(dataset: DatasetParameters, field: str) -> list[DataFile]:
    """Find and check a data set's files on the volume; ``field`` is ``datasets`` or ``benchmarks``.

    Raise UserError if the data set is missing, empty or lacks a column.
    """
    where = f"{field}[{dataset.name}]"
    return open_files(dataset_path(dataset, where), dataset.split, wanted_columns(dataset), where)


def wanted_columns(dataset: DatasetParameters) -> list[str]:
    """List the columns that a data set must have."""
    return [*dict.fromkeys([*dataset.columns.named(), *dataset.responses_columns.values()])]


@dataclass(frozen=True)
class DatasetReader:
    """Reads the data sets of one stage, any number of times."""

    files: dict[str, list[DataFile]]

    def rows(self, dataset: DatasetParameters, counts: PromptCounts | None = None) -> Iterator[DatasetRow]:
        """Yield the usable rows of a data set; count all rows in ``counts``.

        Raise UserError if a file cannot be read to its end.
        """
        try:
            yield from self._rows(dataset, counts if counts is not None else PromptCounts())
        except UserError as error:
            raise UserError(f"datasets[{dataset.name}]: {error}") from error

    def _rows(self, dataset: DatasetParameters, counts: PromptCounts) -> Iterator[DatasetRow]:
        for where, raw in read_raw_rows(self.files[dataset.name], wanted_columns(dataset)):
            counts.rows += 1
            try:
                if isinstance(raw, BadRowError):
                    raise raw
                row, no_response = read_row(raw, dataset)
            except BadRowError as error:
                counts.count_bad(where, error)
                continue
            except NoTestsError:
                counts.no_tests += 1
                continue
            except RecursionError:
                counts.count_bad(where, BadRowError("a value that is nested too deeply"))
                continue
            for source, missing in no_response.items():
                counts.count_no_response(where, source, missing)
            yield row


def read_row(raw: RawRow, dataset: DatasetParameters) -> tuple[DatasetRow, dict[str, BadRowError]]:
    """Return the row, and why a source has no response in it.

    Raise BadRowError if it is unusable, and NoTestsError if its prompt must have tests and has none.
    """
    columns = dataset.columns
    found = find_turns(get_value(raw, columns.prompt), dataset.turns)
    if found is None:
        raise no_value("prompt", columns.prompt, get_value(raw, columns.prompt))
    history, prompt = found
    # Source: LLaMA-Factory on the Alpaca format: the query follows the prompt on a new line.
    context = get_column_text(raw, columns.context)
    text = f"{prompt}\n{context}" if context else prompt
    answer, tests = get_column_text(raw, columns.answer), None
    if columns.tests:
        tests = parse_tests(get_value(raw, columns.tests))
    if dataset.task in NEED_ANSWER and answer is None:
        raise no_value("answer", columns.answer, get_value(raw, columns.answer or ""))
    if dataset.tests_from is TestsFrom.PROMPT:
        tests = find_tests(text)
        if tests is None:
            raise NoTestsError
    elif dataset.task in NEED_TESTS and not tests:
        raise no_value("tests", columns.tests, get_value(raw, columns.tests or ""))
    earlier = sum(message.role == "user" for message in history)
    responses, no_response = find_responses(raw, dataset, prompt, earlier)
    entry_point, preamble, category, solution = (
        get_column_text(raw, column)
        for column in (columns.entry_point, columns.preamble, columns.category, columns.solution)
    )
    optional = (answer, *(tests or ()), entry_point, preamble, category, solution)
    check_texts([*(message.content for message in history), text, *optional, *responses.values()])
    # With null characters between the turns, no text has the key of a conversation.
    turns = [*(f"{message.role}\0{message.content}" for message in history), text]
    normalized = "\0".join(" ".join(turn.split()) for turn in turns)
    row = DatasetRow(
        key=int(hash_text(f"{dataset.task}\0{normalized}")[:16], 16),
        normalized=normalized,
        history=history,
        text=text,
        answer=answer,
        tests=tests,
        entry_point=entry_point,
        preamble=preamble,
        category=category,
        solution=solution,
        responses=responses,
    )
    return row, no_response


def find_responses(
    raw: RawRow, dataset: DatasetParameters, prompt: str, earlier: int
) -> tuple[dict[str, str], dict[str, BadRowError]]:
    """Return the responses of a row by source, and why the other sources have none; ``earlier`` as in ``chats``."""
    responses: dict[str, str] = {}
    missing: dict[str, BadRowError] = {}
    for source, column in sorted(dataset.responses_columns.items()):
        value = get_value(raw, column)
        try:
            response = find_response(value, prompt, earlier)
            if response is None:
                raise no_value("response", column, value)
        except BadRowError as error:
            missing[source] = error
        else:
            responses[source] = response
    return responses, missing


def hash_text(text: str) -> str:
    """Return the SHA-256 hash of a text in hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()
