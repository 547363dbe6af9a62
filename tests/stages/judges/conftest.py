"""Questions, responses and the judge's replies, with invented templates in the forms of the owners."""

import json

import pytest

from fusionrun.api.evaluation import Grader
from fusionrun.api.evaluation_records import Question
from fusionrun.api.models import Sampling
from fusionrun.api.protocol import Protocol
from fusionrun.api.records import Response
from fusionrun_stages.judges.open import open_judge
from fusionrun_stages.judges.protocol import JudgeProtocol, Reply

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


@pytest.fixture
def opened(tmp_path):
    """Open a protocol; ``files`` replace invented ones, and None removes one."""

    def opened(grader: Grader, rubric: str | None = None, files: dict[str, str | None] | None = None) -> JudgeProtocol:
        for name, text in (FILES[grader] | (files or {})).items():
            if text is not None:
                (tmp_path / name).write_text(text, encoding="utf-8")
        return open_judge(protocol(grader, rubric), tmp_path, 42)

    return opened


@pytest.fixture
def ask():
    """Make a question."""

    def ask(prompt: str = "Why?", **fields) -> Question:
        return Question(prompt_id="0123456789abcdef", dataset="bench", task="Rubric", prompt=prompt, **fields)

    return ask


@pytest.fixture
def respond():
    """Make a response."""

    def respond(text: str = "Because.", finish_reason: str = "stop", **fields) -> Response:
        row = {"prompt_id": "0123456789abcdef", "dataset": "bench", "source": "model", "sample_index": 0}
        return Response(**row, text=text, finish_reason=finish_reason, **fields)

    return respond


@pytest.fixture
def run():
    """Judge a response with a fake judge, a function from the call to its reply, as the stage ``judge`` does."""

    def run(protocol, question, response, judge):
        replies, sent = {}, []
        for first in protocol.calls(question, response):
            call = first
            while call is not None:
                sent.append(call)
                reply = judge(call)
                replies[call.number] = reply if isinstance(reply, Reply) else Reply(text=reply)
                call = protocol.next_attempt(call, replies[call.number])
        return protocol.judged(question, response, replies), sent

    return run
