"""GSM8K, MATH and AMC 23 in the forms of the Qwen2.5-Math harness.

Source: QwenLM/Qwen2.5-Math, evaluation/parser.py, ``parse_question`` and ``parse_ground_truth``, and the same files in
SLIT-AI/FuseChat-3.0, FuseEval/Math-Eval: the answer to GSM8K follows ``####``; that to MATH is in the last box of
the solution.
"""

import re

from fusionrun.api.tasks.parameters import DatasetParameters
from fusionrun_stages.benchmarks.item import Item, Opened, optional_text, required_text
from fusionrun_stages.benchmarks.source import Source
from fusionrun_stages.prompts.bad_rows import BadRowError, RawRow
from fusionrun_stages.prompts.dataset_files import read_raw_rows

_LINE_BREAK = re.compile(r"\n\s*")
ANSWER_MARK = "####"
BOX = "boxed"
QUESTION_COLUMNS = ("question", "problem")


def open_gsm8k(source: Source, _: DatasetParameters) -> Opened:
    """Open ``test.jsonl``, or ``main/test-*.parquet`` of openai/gsm8k on the hub."""
    files = source.table(["question", "answer"], prefer=("main/",))
    return Opened(lambda: read_raw_rows(files, ["question", "answer"]), read_gsm8k)


def read_gsm8k(raw: RawRow) -> Item:
    """Return a question of GSM8K."""
    _, mark, answer = required_text(raw, "answer", "answer").rpartition(ANSWER_MARK)
    if not mark or not answer.strip():
        raise BadRowError(f"an answer without {ANSWER_MARK}")
    return Item(text=required_text(raw, "question", "question").strip(), answer=answer.strip())


def open_math(source: Source, _: DatasetParameters) -> Opened:
    """Open ``test.jsonl`` or ``test-*.parquet`` of MATH."""
    columns = ["problem", "solution"]
    files = source.table(columns)
    return Opened(lambda: read_raw_rows(files, [*columns, "type", "level"]), read_math)


def read_math(raw: RawRow) -> Item:
    """Return a question of MATH; its group is the subject."""
    answer = last_boxed(required_text(raw, "solution", "solution"))
    if answer is None:
        raise BadRowError("a solution without a boxed answer")
    subject = optional_text(raw, "type")
    return Item(
        text=required_text(raw, "question", "problem").strip(),
        answer=answer,
        category=subject,
        group=subject,
        data={"level": level} if (level := optional_text(raw, "level")) else None,
    )


def open_amc23(source: Source, _: DatasetParameters) -> Opened:
    """Open ``test.jsonl`` of AMC 23."""
    files = source.table(["answer"])
    return Opened(lambda: read_raw_rows(files, ["id", *QUESTION_COLUMNS, "answer"]), read_amc23)


def read_amc23(raw: RawRow) -> Item:
    """Return a question of AMC 23."""
    return Item(
        text=required_text(raw, "question", *QUESTION_COLUMNS).strip(),
        key=optional_text(raw, "id"),
        answer=required_text(raw, "answer", "answer").strip(),
    )


def last_boxed(solution: str) -> str | None:
    r"""Return what is in the last ``\boxed{…}``, or after a last ``\boxed`` up to ``$``; None if there is none.

    Line breaks, and a full stop or a slash at the end, are no part of it, as in ``extract_answer`` of the harness.
    """
    _, box, rest = solution.rpartition(BOX)
    if not box:
        return None
    boxed = _in_braces(rest) if rest.startswith("{") else rest.partition("$")[0]
    boxed = _LINE_BREAK.sub("", boxed.strip()).removeprefix(":").removesuffix(".").removesuffix("/")
    return boxed.strip() or None


def _in_braces(text: str) -> str:
    """Return what is between the brace at the start and its closing one, or the end of the text."""
    depth = 0
    for index, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return text[1:index]
    return text[1:]
