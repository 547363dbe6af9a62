"""Read a data set as ``prepare`` does."""

from pathlib import Path
from typing import Any

from fusionrun.api.tasks.parameters import DatasetParameters
from fusionrun_stages.prompts.counts import PromptCounts
from fusionrun_stages.prompts.dataset_rows import DatasetReader, DatasetRow, open_dataset


def read_dataset(path: Path, **fields: Any) -> tuple[list[DatasetRow], PromptCounts]:
    """Return the usable rows and the counts of all rows; read twice, as ``prepare`` does."""
    dataset = DatasetParameters.model_validate(
        {"name": "a", "task": "Instruction", "columns": {"prompt": "prompt"}, "uri": str(path)} | fields
    )
    counts = PromptCounts()
    reader = DatasetReader({"a": open_dataset(dataset, "datasets")})
    rows = list(reader.rows(dataset, counts))
    assert list(reader.rows(dataset)) == rows
    assert counts.rows == len(rows) + counts.bad_rows + counts.no_tests
    return rows, counts
