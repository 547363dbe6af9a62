"""Training rows and tokenizer."""

from pathlib import Path
from typing import Any

from fusionrun.api.stage import TemplateName
from fusionrun_stages.errors import UserError
from fusionrun_stages.models.chat_template import TEMPLATE_ARGUMENTS
from fusionrun_stages.models.recipe_template import use_template
from fusionrun_stages.volume.paths import inside_volume

CACHE = ".cache"
"""Folder of tokenized rows. It is part of the artifact, so that the ranks of all pods share it; removed at the end."""


def load_rows(path: str, columns: list[str], output: Path) -> Any:
    """Read a Parquet file of conversations as a ``datasets.Dataset`` with a column ``chat_template_kwargs``.

    Raise UserError if the file is not Parquet, has no rows or lacks a column.
    """
    if not inside_volume(path).is_file():
        raise UserError(f"{path}: the training data is not a file")
    from datasets import load_dataset
    from datasets.exceptions import DatasetGenerationError

    try:
        rows = load_dataset("parquet", data_files=path, split="train", cache_dir=str(output / CACHE))
    except (DatasetGenerationError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as Parquet: {error.__cause__ or error}") from error
    missing = [name for name in columns if name not in rows.column_names]
    if missing:
        raise UserError(f"{path}: no column {missing[0]!r}, only {rows.column_names}")
    if not len(rows):
        raise UserError(f"{path}: no rows: construct dropped all, see its drops by reason")
    rows = rows.select_columns(columns)
    return rows.add_column("chat_template_kwargs", [TEMPLATE_ARGUMENTS] * len(rows))


def load_tokenizer(model_path: str, template: TemplateName | None = None) -> Any:
    """Read a model's tokenizer, with ``template`` instead of its own if it is set.

    Raise UserError if it has no chat template, or lacks a token of ``template``.
    """
    from transformers import AutoTokenizer

    if not inside_volume(model_path).is_dir():
        raise UserError(f"target.model: {model_path}: no such directory")
    tokenizer = AutoTokenizer.from_pretrained(model_path)
    if template is not None:
        use_template(tokenizer, template, "target.model")
    elif not tokenizer.chat_template:
        raise UserError(f"target.model: {model_path}: its tokenizer has no chat template")
    return tokenizer
