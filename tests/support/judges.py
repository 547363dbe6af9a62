"""Invented templates of judges, in the forms that the owners of the benchmarks publish."""

import json

from fusionrun.api.spec.evaluation import Grader
from fusionrun.api.spec.models import Sampling
from fusionrun.api.tasks.protocol import Protocol

CHATML = """<|im_start|>system
Select the better output.
<|im_end|>
<|im_start|>user
{"instruction": "{instruction}", "m": "{output_1}", "M": "{output_2}"}
<|im_end|>"""

ARENA = {
    "system_prompt": "Compare.",
    "prompt_template": ["Q: {question_1}\nA: {answer_1}\nB: {answer_2}"],
    "temperature": 0,
}

TURN = "[Question]\n{question}\n[Answer]\n{answer}"
TURNS = "{question_1}|{answer_1}|{question_2}|{answer_2}"
MT_BENCH = [
    {"name": "single-v1", "system_prompt": "Grade.", "prompt_template": TURN},
    {"name": "single-math-v1", "system_prompt": "Grade.", "prompt_template": TURN + "{ref_answer_1}"},
    {"name": "single-v1-multi-turn", "system_prompt": "Grade 2.", "prompt_template": TURNS},
    {
        "name": "single-math-v1-multi-turn",
        "system_prompt": "Grade 2.",
        "prompt_template": "{ref_answer_1}|{ref_answer_2}|" + TURNS,
    },
    {"name": "pair-v2", "system_prompt": "", "prompt_template": "{answer_a}"},
]

ALIGN_BENCH = {
    "judge.py": 'def prompt(sample):\n    base_prompt = "{category}\\n{dimensions}" \\\n'
    "        \"{question} {reference} {answer} {{'综合得分': 打分}}\"\n    return base_prompt\n",
    "subcategory_question_mapping.json": json.dumps({"算术": "推理型", "写作": "生成型"}),
    "dimension_set.json": json.dumps({"推理型": ["正确", "清晰"], "生成型": ["丰富"]}),
    "dimension_definition.json": json.dumps({"正确": "对不对。", "清晰": "清不清。", "丰富": "多不多。"}),
}

FILES = {
    Grader.ALPACA_EVAL: {"judge.txt": CHATML},
    Grader.ARENA_HARD: {"judge.yaml": json.dumps(ARENA)},
    Grader.MT_BENCH: {"judge_prompts.jsonl": "\n".join(map(json.dumps, MT_BENCH))},
    Grader.ALIGN_BENCH: ALIGN_BENCH,
    Grader.RUBRIC: {},
}


def protocol(grader: Grader, rubric: str | None = None) -> Protocol:
    return Protocol(name="test", version=1, grader=grader, sampling=Sampling(), rubric=rubric)
