"""Invented benchmarks in the forms of their owners."""

import base64
import json
import pickle
import zlib
from pathlib import Path
from typing import Any

from fusionrun.api.evaluation_records import Question
from fusionrun.api.tasks.parameters import DatasetParameters
from fusionrun_stages.benchmarks.reader import open_benchmark
from fusionrun_stages.prompts.counts import PromptCounts

SAMPLING = {"temperature": 0.0, "top_p": 1.0, "top_k": -1, "repetition_penalty": 1.0, "max_tokens": 64}
GAMED_HEADER = "preference,index,std_delta_len,instruction_difficulty,not_gamed_baseline,model\n"


def write(folder: Path, files: dict[str, Any]) -> Path:
    """Write files: a text or bytes as they are, a list as JSON Lines, or as JSON or Parquet by the name."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        elif name.endswith(".parquet"):
            import pyarrow as pa
            import pyarrow.parquet as pq

            pq.write_table(pa.Table.from_pylist(content), path)
        elif name.endswith(".json"):
            path.write_text(json.dumps(content), encoding="utf-8")
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
    return folder


def benchmark(
    uri: Any, layout: str, grader: str, *, name: str = "b", columns=None, split="test", **protocol: Any
) -> dict:
    """Return the parameters of a benchmark with a protocol."""
    columns = columns or {}
    given = {"name": f"Test/{layout}", "version": 1, "layout": layout, "grader": grader, "sampling": SAMPLING}
    return {
        "name": name,
        "task": grader,
        "uri": str(uri),
        "split": split,
        "columns": {key: value for key, value in columns.items() if key != "options"},
        "protocol": given | {"columns": columns} | protocol,
    }


def open_reader(parameters: dict):
    return open_benchmark(DatasetParameters.model_validate(parameters))


def questions(parameters: dict, counts: PromptCounts | None = None) -> list[Question]:
    """Return all questions of a benchmark in the order of its files."""
    return list(open_reader(parameters).questions(counts or PromptCounts()))


def packed(cases: Any) -> str:
    """Pack test cases as LiveCodeBench does."""
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(cases)))).decode()


def case(given: str, expected: str, kind: str = "stdin") -> dict[str, str]:
    return {"input": given, "output": expected, "testtype": kind}


def problem(name: str, day: str = "2024-09-01T00:00:00", **fields: Any) -> dict[str, Any]:
    """Return a problem of LiveCodeBench with one public and one private test."""
    return {
        "question_title": name,
        "question_content": f"Print {{n}} twice ({name}).",
        "platform": "atcoder",
        "question_id": name,
        "contest_id": "c",
        "contest_date": day,
        "starter_code": "",
        "difficulty": "easy",
        "public_test_cases": json.dumps([case("1", "1\n1")]),
        "private_test_cases": packed([case("2", "2\n2")]),
        "metadata": "{}",
    } | fields


def alpaca_files() -> dict[str, Any]:
    rows = [
        {"dataset": "koala", "instruction": f"Name {n} birds.", "output": f"{n} gulls", "generator": "baseline"}
        for n in range(3)
    ]
    gamed = "".join(
        f"0.5,{index},0.1,{index / 4},False,{model}\n" for model in ("verbose", "concise") for index in range(3)
    )
    return {
        "ref/alpaca_eval_gpt4_baseline.json": rows,
        "ref/df_gamed.csv": GAMED_HEADER + gamed,
        "configs/alpaca_eval_clf.txt": "Which is better: m or M? {instruction}",
    }


def arena_files() -> dict[str, Any]:
    question = {
        "question_id": "q1",
        "category": "arena-hard-v0.1",
        "cluster": "Birds",
        "turns": [{"content": "Why gulls?"}],
    }
    return {
        "data/question.jsonl": [question, question | {"question_id": "q2", "turns": [{"content": "Why terns?"}]}],
        "data/arena-hard-gpt-4-0314.json": [
            {"dataset": key, "instruction": "?", "output": f"Because {key}.", "generator": "gpt-4-0314"}
            for key in ("q1", "q2")
        ],
        "config/judge_config.yaml": "system_prompt: Judge.\nprompt_template: ['{question_1}']\n",
    }


def mt_files() -> dict[str, Any]:
    rows = [
        {"question_id": 81, "category": "writing", "turns": ["Write a poem.", "Shorten it."]},
        {"question_id": 111, "category": "math", "turns": ["Add 1 and 2.", "Double it."], "reference": ["3", "6"]},
    ]
    reference = {"question_id": 111, "model_id": "gpt-4", "choices": [{"index": 0, "turns": ["It is 3.", "It is 6."]}]}
    return {
        "data/question.jsonl": rows,
        "data/gpt-4.jsonl": [reference],
        "data/judge_prompts.jsonl": [{"name": "single-v1", "prompt_template": "Rate {answer}."}],
    }


def align_files() -> dict[str, Any]:
    row = {
        "question_id": 1,
        "category": "数学计算",
        "subcategory": "初等数学",
        "question": "一加一等于几",
        "reference": "二",
    }
    other = row | {"question_id": 2, "category": "文本写作", "subcategory": "创意文体写作", "question": "写一首诗。"}
    return {
        "data/data_v1.1_release.jsonl": [row, other],
        "config/dimension_set.json": '{"a": ["b"]}',
        "config/dimension_definition.json": '{"b": "c"}',
        "config/subcategory_question_mapping.json": '{"初等数学": "a"}',
        "judge.py": "template = 'Rate.'\n",
    }
