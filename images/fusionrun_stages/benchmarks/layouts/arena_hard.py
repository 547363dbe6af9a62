"""Arena-Hard v0.1: 500 questions with the answers of the baseline GPT-4-0314.

Source: lmarena/arena-hard-auto (``question.jsonl``, ``model_answer/gpt-4-0314.jsonl``, the judge's configuration), and
SLIT-AI/FuseChat-3.0, FuseEval/IF-Eval/Arena-Hard, which has the answers as ``arena-hard-gpt-4-0314.json`` in the form
of AlpacaEval, with the identifier of the question in ``dataset``.
"""

from typing import Any

from fusionrun.api.tasks.parameters import DatasetParameters
from fusionrun_stages.benchmarks.item import Item, Opened, optional_text, required_text
from fusionrun_stages.benchmarks.source import Source
from fusionrun_stages.errors import UserError
from fusionrun_stages.prompts.bad_rows import BadRowError, RawRow
from fusionrun_stages.prompts.dataset_files import DataFile, read_raw_rows

JUDGE = "judge.yaml"
QUESTION_COLUMNS = ("turns[0].content", "turns[0]", "prompt")
ANSWER_COLUMNS = (
    "choices[0].turns[0].content",
    "choices[0].turns[0]",
    "messages[1].content.answer",
    "messages[1].content",
)
"""Where releases of the benchmark have the text of a question and of an answer."""
ORIGIN = "github.com/lmarena/arena-hard-auto, or FuseEval/IF-Eval/Arena-Hard of github.com/SLIT-AI/FuseChat-3.0"
JUDGE_ORIGIN = "FuseEval/IF-Eval/Arena-Hard/judge_configs of github.com/SLIT-AI/FuseChat-3.0"
"""The configuration in lmarena/arena-hard-auto has another template now."""
VERSION = ("arena-hard-v0.1",)
"""Folder of this version, where the files of later versions have the same names."""


def open_arena_hard(source: Source, _: DatasetParameters) -> Opened:
    """Open the questions, the answers of the baseline and the configuration of the judge."""
    questions = source.find("question.jsonl", origin=ORIGIN, prefer=VERSION)
    baseline = source.find("arena-hard-gpt-4-0314.json", "gpt-4-0314.jsonl", origin=ORIGIN, prefer=VERSION)
    judge = source.find("judge_config.yaml", JUDGE, origin=JUDGE_ORIGIN)
    answers = read_answers(source.data_file(baseline), source.where)
    files = source.data_files([questions], [])
    return Opened(lambda: read_raw_rows(files), lambda raw: read(raw, answers), materials={JUDGE: judge})


def read_answers(file: DataFile, where: str) -> dict[str, str]:
    """Return the answers of the baseline by the identifier of the question."""
    answers: dict[str, str] = {}
    for row_where, row in read_raw_rows([file]):
        if isinstance(row, BadRowError):
            raise UserError(f"{where}: {row_where}: {row}")
        key, answer = _identifier(row, "dataset"), optional_text(row, "output", *ANSWER_COLUMNS)
        if key is not None and answer is not None:
            answers.setdefault(key, answer)
    return answers


def read(raw: RawRow, answers: dict[str, str]) -> Item:
    """Return a question with the baseline's answer."""
    key = _identifier(raw)
    if key is None:
        raise BadRowError("no question_id")
    if key not in answers:
        raise BadRowError("no answer of the baseline", f"question {key}")
    return Item(
        text=required_text(raw, "question", *QUESTION_COLUMNS),
        key=key,
        references=[answers[key]],
        data={"question_id": key, "cluster": optional_text(raw, "cluster")},
    )


def _identifier(row: dict[str, Any], *more: str) -> str | None:
    return optional_text(row, "question_id", "uid", *more)
