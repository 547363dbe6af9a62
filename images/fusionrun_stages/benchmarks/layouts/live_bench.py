"""LiveBench: six categories of questions with rules that grade them, at its release of 2024-08-31.

Source: livebench/{coding,data_analysis,instruction_following,math,reasoning,language} on the hub, split ``test``, or
the ``question.jsonl`` files of LiveBench/LiveBench; gen_model_answer.py and common.py for the dates. A question belongs
to a release if it was published by then, and not removed by then.
"""

import datetime
from collections.abc import Mapping
from typing import Any

from fusionrun.api.spec.evaluation import Grader
from fusionrun.api.tasks.parameters import DatasetParameters
from fusionrun_stages.benchmarks.item import Item, Opened, optional_text, required_text, required_texts
from fusionrun_stages.benchmarks.layouts.live_code_bench import tests_of
from fusionrun_stages.benchmarks.source import Source
from fusionrun_stages.prompts.bad_rows import BadRowError, RawRow
from fusionrun_stages.prompts.dataset_files import read_raw_rows
from fusionrun_stages.prompts.values import get_text

RELEASE = datetime.date(2024, 8, 31)
COLUMNS = ["question_id", "category", "task", "turns", "livebench_release_date"]
CODING = "coding"
DECODED = ("public_test_cases", "private_test_cases", "original_json")
"""Columns that ``data`` does not have as they are: it has ``fn_name`` and ``tests`` instead."""
CATEGORIES = (CODING, "data_analysis", "instruction_following", "math", "reasoning", "language")


def open_live_bench(source: Source, _: DatasetParameters) -> Opened:
    """Open the files of all categories."""
    files = source.table(COLUMNS)
    return Opened(lambda: read_raw_rows(files), read)


def read(raw: RawRow) -> Item | None:
    """Return a question with the columns that its grader needs in ``data``; None if the release does not have it."""
    released, removed = _day(raw, "livebench_release_date"), _day(raw, "livebench_removal_date")
    if released is None:
        raise BadRowError("no date in column 'livebench_release_date'")
    if released > RELEASE or (removed is not None and removed <= RELEASE):
        return None
    category, task = required_text(raw, "category", "category"), required_text(raw, "task", "task")
    if category not in CATEGORIES:
        raise BadRowError(f"a category that is none of {', '.join(CATEGORIES)}")
    turns = required_texts(raw, "turns", "turns")
    is_coding = category == CODING
    return Item(
        text=turns[0],
        key=required_text(raw, "identifier", "question_id"),
        answer=optional_text(raw, "ground_truth"),
        category=category,
        group=f"{category}/{task}",
        later_turns=turns[1:] or None,
        grader=Grader.LIVE_CODE_BENCH if is_coding else Grader.LIVE_BENCH,
        data=lambda: data_of(raw, is_coding=is_coding),
    )


def data_of(raw: RawRow, *, is_coding: bool) -> dict[str, Any]:
    """Return the columns of a row, with its decoded tests if it is a problem of coding."""
    data: dict[str, Any] = {name: plain(value) for name, value in raw.items() if name not in DECODED}
    if is_coding:
        original = raw.get("original_json")
        data |= tests_of(raw, original.get("metadata") if isinstance(original, dict) else None)
        data["partial_solution"] = optional_text(raw, "partial_solution") or ""
    return data


def plain(value: Any) -> Any:
    """Return a value as JSON has it, without fields that are None: Parquet has all arguments for all instructions."""
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value if isinstance(value, (str, int, float)) or value is None else get_text(value)


def _day(raw: RawRow, column: str) -> datetime.date | None:
    text = optional_text(raw, column)
    if text is None:
        return None
    try:
        return datetime.datetime.fromisoformat(text).date()
    except ValueError as error:
        raise BadRowError(f"a {column} that is no date in ISO 8601") from error
