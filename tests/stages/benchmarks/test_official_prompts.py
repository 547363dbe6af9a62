"""The prompts are those that FuseEval's own functions give (``hack/oracle/prompts.py``); the questions are invented."""

import json
from pathlib import Path

import pytest

from support.benchmarks import benchmark, questions, write

CASES = json.loads(Path(__file__).with_name("official_prompts.json").read_text(encoding="utf-8"))
FILES = {
    "MMLUPro": ("test.parquet", "Choice"),
    "MMLU": ("test.parquet", "Choice"),
    "GPQA": ("diamond/train.parquet", "Choice"),
    "LiveCodeBench": ("test.jsonl", "LiveCodeBench"),
    "EvalPlus": ("HumanEvalPlus.jsonl", "EvalPlus"),
    "MATH": ("test.jsonl", "QwenMathematics"),
}


@pytest.mark.parametrize("case", CASES, ids=[f"{case['layout']}-{number}" for number, case in enumerate(CASES)])
def test_a_question_has_the_official_prompt(tmp_path, case):
    name, grader = FILES[case["layout"]]
    write(tmp_path, {name: [case["row"]]})
    (found,) = questions(benchmark(tmp_path, case["layout"], grader, form=case["form"]))
    expected = {name: case[name] for name in ("prompt", "prefill", "answer") if name in case}
    assert {name: getattr(found, name) for name in expected} == expected
