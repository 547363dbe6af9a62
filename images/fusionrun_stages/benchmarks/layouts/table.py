"""A table whose columns the spec names: a user's own benchmark. Equal questions are dropped, as in data sets."""

from fusionrun.api.spec.evaluation import BenchmarkColumns, Grader
from fusionrun.api.tasks.parameters import DatasetParameters
from fusionrun_stages.benchmarks.item import Item, Opened
from fusionrun_stages.benchmarks.options import letter_of, read_options
from fusionrun_stages.benchmarks.source import Source
from fusionrun_stages.prompts.bad_rows import RawRow
from fusionrun_stages.prompts.dataset_files import read_raw_rows
from fusionrun_stages.prompts.dataset_rows import read_row, wanted_columns
from fusionrun_stages.prompts.values import get_value


def open_table(source: Source, dataset: DatasetParameters) -> Opened:
    """Open the files of the split; raise UserError if a column is missing."""
    columns = dataset.protocol.columns if dataset.protocol else BenchmarkColumns.model_validate(vars(dataset.columns))
    given = dataset.model_copy(update={"columns": columns})
    wanted = wanted_columns(given)
    files = source.table(wanted)
    return Opened(
        lambda: read_raw_rows(files, wanted), lambda raw: read_item(raw, given, columns), drops_duplicates=True
    )


def read_item(raw: RawRow, dataset: DatasetParameters, columns: BenchmarkColumns) -> Item:
    """Return the question of a row. For grader Choice, ``answer`` becomes a letter."""
    row, _ = read_row(raw, dataset)
    options = None if columns.options is None else read_options(get_value(raw, columns.options))
    answer = row.answer
    if dataset.task == Grader.CHOICE:
        answer = letter_of(get_value(raw, columns.answer or ""), options or [])
    return Item(
        text=row.text,
        answer=answer,
        options=options,
        category=row.category,
        group=row.category,
        tests=row.tests,
        entry_point=row.entry_point,
        preamble=row.preamble,
    )
