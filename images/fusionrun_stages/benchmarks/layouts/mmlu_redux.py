"""MMLU-Redux: 100 questions of each of 30 subjects of MMLU, with the errors that people found in them.

Its files are ``mmlu_redux/mmlu_<subject>.csv`` of aryopg/mmlu-redux, with semicolons between the columns and the
options in Python's notation, or ``<subject>/data-*.arrow`` of edinburgh-dawg/mmlu-redux on the hub, or Parquet or JSON
Lines with the same columns. All questions are asked, also those with an error: ``data`` says which they are.
"""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from fusionrun.api.tasks.parameters import DatasetParameters
from fusionrun_stages.benchmarks.item import Item, Opened, optional_text, required_text
from fusionrun_stages.benchmarks.options import letter_at, read_options
from fusionrun_stages.benchmarks.source import Source, subject_of_file
from fusionrun_stages.errors import UserError
from fusionrun_stages.prompts.bad_rows import ROW_MAX, ROW_MAX_BYTES, BadRowError, RawRow
from fusionrun_stages.prompts.dataset_files import DataFile, read_raw_rows

COLUMNS = ["question", "choices", "answer", "error_type"]
FILES = ("mmlu_*.csv", "*.arrow", "*.parquet", "*.jsonl", "*.json")
"""In the order of preference: the first form that the folder has is read."""
FOLDER = "mmlu_redux"
"""The repository has earlier versions of the files in other folders."""
ERROR_COLUMNS = ("error_type", "correct_answer", "potential_reason", "source")


def open_mmlu_redux(source: Source, _: DatasetParameters) -> Opened:
    """Open the files of all subjects in the folder."""
    paths = next((found for pattern in FILES if (found := source.files(pattern))), [])
    if not paths:
        raise UserError(
            f"{source.where}: {str(source.path)!r}: lacks files 'mmlu_*.csv' or 'data-*.arrow': get them from the "
            "folder mmlu_redux of github.com/aryopg/mmlu-redux, or from edinburgh-dawg/mmlu-redux on the hub"
        )
    paths = [path for path in paths if path.parent.name == FOLDER] or paths
    files = [source.data_file(path) for path in paths]
    return Opened(lambda: read_rows_of(files), read)


def read_rows_of(files: list[DataFile]) -> Iterator[tuple[str, RawRow | BadRowError]]:
    """Yield the rows of all files, each with the subject of its file."""
    for file in files:
        subject = subject_of_file(file.name)
        for where, row in _rows(file):
            yield where, row if isinstance(row, BadRowError) else {"subject": subject, **row}


def read(raw: RawRow) -> Item:
    """Return a question; ``data`` has what its annotators found."""
    options = read_options(raw.get("choices"))
    subject = optional_text(raw, "subject")
    return Item(
        text=required_text(raw, "question", "question"),
        answer=letter_at(raw.get("answer"), options),
        options=options,
        category=subject,
        group=subject,
        data={column: text for column in ERROR_COLUMNS if (text := optional_text(raw, column)) is not None},
    )


def _rows(file: DataFile) -> Iterator[tuple[str, RawRow | BadRowError]]:
    if file.suffix == ".csv":
        yield from _csv_rows(file)
    elif Path(file.name).suffix == ".arrow":
        yield from _arrow_rows(file)
    else:
        yield from read_raw_rows([file])


def _csv_rows(file: DataFile) -> Iterator[tuple[str, RawRow | BadRowError]]:
    """Yield the rows of a CSV file with semicolons or commas: what its first line has more of."""
    csv.field_size_limit(ROW_MAX_BYTES)
    with file.open() as stream, io.TextIOWrapper(stream, "utf-8-sig", "surrogateescape", newline="") as text:
        header = text.readline(ROW_MAX_BYTES)
        text.seek(0)
        reader = csv.DictReader(text, delimiter=";" if header.count(";") > header.count(",") else ",", strict=True)
        try:
            for row in reader:
                where = f"{file.name}:{reader.line_num}"
                yield where, BadRowError("more fields than the header") if None in row else dict(row)
        except csv.Error as error:
            raise UserError(f"{file.name}:{reader.line_num}: not CSV, or longer than {ROW_MAX}: {error}") from error


def _arrow_rows(file: DataFile) -> Iterator[tuple[str, RawRow | BadRowError]]:
    """Yield the rows of a file of ``datasets.save_to_disk``: a stream in Arrow's IPC format."""
    import pyarrow as pa

    number = 0
    try:
        with file.open() as stream, pa.ipc.open_stream(stream) as batches:
            for batch in batches:
                for row in batch.to_pylist():
                    number += 1
                    yield f"{file.name}:{number}", row
    except pa.ArrowException as error:
        raise UserError(f"{file.name}: not a complete Arrow stream: {str(error)[:200]}") from error
