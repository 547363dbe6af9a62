"""LiveCodeBench: problems of a range of contest dates, with stdin or functional tests.

Source: LiveCodeBench/LiveCodeBench, lcb_runner/benchmarks/code_generation.py (columns, packed tests) and
lcb_runner/prompts/code_generation.py (prompts); SLIT-AI/FuseChat-3.0, FuseEval/Code-Eval/LiveCodeBench, is a copy. The
data is livecodebench/code_generation_lite on the hub: ``test.jsonl``, ``test2.jsonl`` and so on, one per release.

The template of the protocol may have ``{question}``, the problem alone, and ``{format}``, the sentence on the format of
the program with the starter code. ``{prompt}`` has both, with the headings that the harness uses for chat models.
"""

import datetime
import json
from collections.abc import Iterator
from itertools import chain
from typing import Any

from fusionrun.api.tasks.parameters import DatasetParameters
from fusionrun_stages.benchmarks.item import Item, Opened, optional_text, required_text
from fusionrun_stages.benchmarks.layouts.cases import read_cases
from fusionrun_stages.benchmarks.source import Source
from fusionrun_stages.errors import UserError
from fusionrun_stages.prompts.bad_rows import BadRowError, RawRow
from fusionrun_stages.prompts.dataset_files import DataFile, read_raw_rows

COLUMNS = ["question_id", "question_content", "contest_date", "public_test_cases", "private_test_cases", "metadata"]
OPTIONAL = ["starter_code", "platform", "difficulty"]
PATTERNS = ("test*.jsonl", "test*.parquet")

WITH_STARTER = (
    "You will use the following starter code to write the solution to the problem and enclose your code within "
    "delimiters."
)
WITHOUT_STARTER = (
    "Read the inputs from stdin solve the problem and write the answer to stdout (do not directly test on the sample "
    "inputs). Enclose your code within delimiters as follows."
)
"""The sentences of the harness (``PromptConstants``)."""
NO_STARTER = "# YOUR CODE HERE"
ANSWER_HEADING = "### Answer: (use the provided format with backticks)"


def open_live_code_bench(source: Source, dataset: DatasetParameters) -> Opened:
    """Open the files of all releases in the folder; the window of the protocol chooses the problems."""
    paths = source.files(*(("*",) if source.path.is_file() else PATTERNS))
    if not paths:
        raise UserError(
            f"{source.where}: {str(source.path)!r}: lacks files 'test*.jsonl': get them from "
            "livecodebench/code_generation_lite on the hub"
        )
    files = source.data_files(paths, COLUMNS)
    start, end = (dataset.protocol.window_start, dataset.protocol.window_end) if dataset.protocol else (None, None)

    def read_in_window(raw: RawRow) -> Item | None:
        day = contest_day(raw)
        is_in_window = (start is None or start <= day) and (end is None or day <= end)
        return read(raw) if is_in_window else None

    return Opened(lambda: _rows(files), read_in_window)


def _rows(files: list[DataFile]) -> Iterator[tuple[str, RawRow | BadRowError]]:
    return chain.from_iterable(read_raw_rows([file], [*COLUMNS, *OPTIONAL]) for file in files)


def contest_day(raw: RawRow) -> datetime.date:
    """Return the day of a problem's contest."""
    value = raw.get("contest_date")
    if isinstance(value, datetime.datetime):
        return value.date()
    if isinstance(value, datetime.date):
        return value
    try:
        return datetime.datetime.fromisoformat(str(value)).date()
    except ValueError as error:
        raise BadRowError("a contest_date that is no date in ISO 8601") from error


def read(raw: RawRow) -> Item:
    """Return a problem; ``data`` has ``fn_name`` (None for programs that read stdin) and ``tests``."""
    question = required_text(raw, "question", "question_content")
    starter = optional_text(raw, "starter_code")
    block = format_block(starter)
    return Item(
        text=question,
        key=required_text(raw, "identifier", "question_id"),
        group=optional_text(raw, "difficulty"),
        values={
            "question": question,
            "format": block,
            "prompt": f"### Question:\n{question}\n\n### Format: {block}{ANSWER_HEADING}\n\n",
        },
        data=lambda: {
            "question_id": optional_text(raw, "question_id"),
            "platform": optional_text(raw, "platform"),
            "contest_date": contest_day(raw).isoformat(),
            "starter_code": starter or "",
            **tests_of(raw, raw.get("metadata")),
        },
    )


def format_block(starter: str | None) -> str:
    """Return the sentence on the format of the program, and the code to start from."""
    sentence, code = (WITH_STARTER, starter) if starter else (WITHOUT_STARTER, NO_STARTER)
    return f"{sentence}\n```python\n{code}\n```\n\n"


def tests_of(raw: RawRow, metadata: Any) -> dict[str, Any]:
    """Return ``fn_name`` and all ``tests`` of a row, public ones first; raise BadRowError if it has none."""
    if isinstance(metadata, str):
        try:
            metadata = json.loads(metadata)
        except (ValueError, RecursionError) as error:
            raise BadRowError("metadata that is not JSON") from error
    name = metadata.get("func_name") if isinstance(metadata, dict) else None
    tests = [*read_cases(raw.get("public_test_cases")), *read_cases(raw.get("private_test_cases"))]
    if not tests:
        raise BadRowError("a problem without test cases")
    if name is not None and not isinstance(name, str):
        raise BadRowError("metadata whose func_name is not a text")
    return {"fn_name": name, "tests": tests}
