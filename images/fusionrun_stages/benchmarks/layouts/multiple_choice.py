"""MMLU-Pro, MMLU and GPQA as FuseEval reads them.

Source: SLIT-AI/FuseChat-3.0, FuseEval/General-Eval/MC-Eval (``evaluate_from_local.py`` and its folder ``data``):
MMLU-Pro of TIGER-Lab, MMLU in the form of ``cais/mmlu``, GPQA in the form of ``jeggers/gpqa_formatted``.
"""

from collections.abc import Callable

from fusionrun.api.tasks.parameters import DatasetParameters
from fusionrun_stages.benchmarks.item import Item, Opened, optional_text, required_text
from fusionrun_stages.benchmarks.options import LETTERS, letter_at, read_options
from fusionrun_stages.benchmarks.source import Source
from fusionrun_stages.prompts.bad_rows import BadRowError, RawRow
from fusionrun_stages.prompts.dataset_files import DataFile, read_raw_rows

MMLU_PRO_COLUMNS = ["question_id", "question", "options", "answer", "category"]
MMLU_COLUMNS = ["question", "subject", "choices", "answer"]
GPQA_COLUMNS = ["Question", "options", "answer"]


def open_mmlu_pro(source: Source, _: DatasetParameters) -> Opened:
    """Open ``test-*.parquet`` of MMLU-Pro."""
    return _opened(source.table(MMLU_PRO_COLUMNS), MMLU_PRO_COLUMNS, read_mmlu_pro)


def read_mmlu_pro(raw: RawRow) -> Item:
    """Return a question of MMLU-Pro. Its letter counts: in one question of the test set, ``answer_index`` differs."""
    options = read_options(raw.get("options"))
    answer = required_text(raw, "answer", "answer")
    if answer not in LETTERS[: len(options)]:
        raise BadRowError("an answer that is not the letter of an option")
    category = optional_text(raw, "category")
    return _item(
        required_text(raw, "question", "question"), options, answer, category, optional_text(raw, "question_id")
    )


def open_mmlu(source: Source, _: DatasetParameters) -> Opened:
    """Open the file of all subjects, ``all/test-*.parquet``, or those of the subjects if there is none."""
    return _opened(source.table(MMLU_COLUMNS, prefer=("all/",)), MMLU_COLUMNS, read_mmlu)


def read_mmlu(raw: RawRow) -> Item:
    """Return a question of MMLU: ``answer`` is an index from 0."""
    options = read_options(raw.get("choices"))
    question = required_text(raw, "question", "question")
    return _item(question, options, letter_at(raw.get("answer"), options), optional_text(raw, "subject"))


def open_gpqa(source: Source, dataset: DatasetParameters) -> Opened:
    """Open the files of GPQA-Diamond. They are the split ``train`` there, as nobody trains on them."""
    split = "train" if dataset.split == "test" else dataset.split
    return _opened(source.table(GPQA_COLUMNS, prefer=("diamond",), split=split), GPQA_COLUMNS, read_gpqa)


def read_gpqa(raw: RawRow) -> Item:
    """Return a question of GPQA. Its options are in a fixed order, and ``answer`` is an index from 0."""
    options = read_options(raw.get("options"))
    return _item(required_text(raw, "question", "Question"), options, letter_at(raw.get("answer"), options), None)


def _item(question: str, options: list[str], answer: str, category: str | None, key: str | None = None) -> Item:
    return Item(text=question, key=key, answer=answer, options=options, category=category, group=category)


def _opened(files: list[DataFile], columns: list[str], read: Callable[[RawRow], Item]) -> Opened:
    return Opened(lambda: read_raw_rows(files, columns), read)
