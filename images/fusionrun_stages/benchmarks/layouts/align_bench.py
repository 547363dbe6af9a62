"""AlignBench v1.1: 683 questions in Chinese with reference answers.

Source: THUDM/AlignBench, data/data_v1.1_release.jsonl, config/*.json and show_result.py; SLIT-AI/FuseChat-3.0,
FuseEval/IF-Eval/AlignBench, is a copy. The group of a question makes the means of means those of show_result.py: the
score is the mean of reasoning and language, each the mean of its categories.
"""

from fusionrun.api.tasks.parameters import DatasetParameters
from fusionrun_stages.benchmarks.item import Item, Opened, optional_text, required_text
from fusionrun_stages.benchmarks.source import Source
from fusionrun_stages.prompts.bad_rows import BadRowError, RawRow
from fusionrun_stages.prompts.dataset_files import read_raw_rows

COLUMNS = ["question_id", "category", "subcategory", "question", "reference"]
REASONING = ("数学计算", "逻辑推理")
LANGUAGE = ("基本任务", "中文理解", "综合问答", "文本写作", "角色扮演", "专业能力")
GROUPS = {**dict.fromkeys(REASONING, "reasoning"), **dict.fromkeys(LANGUAGE, "language")}
"""Outer group by category: 中文推理 and 中文语言 of show_result.py."""
MATERIALS = ("dimension_set.json", "dimension_definition.json", "subcategory_question_mapping.json", "judge.py")
"""Configuration of the judge, and the only file of the owners with its template."""
ORIGIN = "github.com/THUDM/AlignBench"


def open_align_bench(source: Source, _: DatasetParameters) -> Opened:
    """Open the questions and the configuration of the judge."""
    questions = source.find("data_v1.1_release.jsonl", origin=ORIGIN)
    materials = {name: source.find(name, origin=ORIGIN) for name in MATERIALS}
    files = source.data_files([questions], COLUMNS)
    return Opened(lambda: read_raw_rows(files), read, materials=materials)


def read(raw: RawRow) -> Item:
    """Return a question with its reference answer."""
    category, subcategory = (required_text(raw, name, name) for name in ("category", "subcategory"))
    if category not in GROUPS:
        raise BadRowError("an unknown category", category[:40])
    return Item(
        text=required_text(raw, "question", "question"),
        key=required_text(raw, "identifier", "question_id"),
        category=category,
        group=f"{GROUPS[category]}/{category}",
        references=[required_text(raw, "reference", "reference")],
        data={
            "question_id": optional_text(raw, "question_id"),
            "category": category,
            "subcategory": subcategory,
        },
    )
