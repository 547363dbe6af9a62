"""Each preset of plan/presets.py on small files with the schema of its data set."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fusionrun.api.artifacts import stage_digest
from fusionrun.api.published.repositories import PRESET_URIS
from fusionrun.api.records import Prompt, Response
from fusionrun.api.spec.data import Preset
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.tasks.task import StageTask
from fusionrun.plan.build import build_plan
from fusionrun.plan.checks import check_spec
from fusionrun.plan.defaults import fill
from fusionrun.plan.pinned import PinnedPlan
from fusionrun.plan.presets import preset_data
from fusionrun.plan.tasks import build_task
from fusionrun_stages import prepare
from fusionrun_stages.prompts.dataset_files import check_columns, select_split
from fusionrun_stages.prompts.dataset_rows import open_dataset
from support.runs import KEPT, UID, make_spec
from support.stage import make_work, read_shards

PIN = "a" * 12


def jsonl(*rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def parquet(*rows):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(rows)), sink)
    return sink.getvalue().to_pybytes()


def ultra_feedback(instruction, source):
    return {
        "source": source,
        "instruction": instruction,
        "models": ["alpaca-7b", "bard"],
        "completions": [
            {"model": "alpaca-7b", "principle": "helpfulness", "response": "r", "overall_score": 7.5,
             "annotations": {"honesty": {"Rating": "4", "Rationale": "x"}}},
        ],
        "correct_answers": ["None"],
        "incorrect_answers": ["None"],
    }  # fmt: skip


def magpie_dpo(instruction, category):
    turn = {"role": "user", "content": instruction}
    return {
        "uuid": "u",
        "instruction": instruction,
        "gen_input_configs": {"input_generator": "Llama-3-70B", "temperature": 1.0, "top_p": 1.0},
        "intent": "i", "knowledge": "k", "difficulty": "easy", "input_quality": "good", "quality_explanation": "q",
        "task_category": category,
        "input_length": 9,
        "responses": ["one", "two"],
        "gen_response_configs": {"engine": "vllm", "stop_tokens": ["<|eot_id|>"], "temperature": 0.8},
        "rewards_armorm": [{"score": 0.1}, {"score": 0.2}],
        "chosen": [turn, {"role": "assistant", "content": "two"}],
        "rejected": [turn, {"role": "assistant", "content": "one"}],
    }  # fmt: skip


def help_steer(prompt, response):
    ratings = dict.fromkeys(("helpfulness", "correctness", "coherence", "complexity", "verbosity"), 3)
    return {"prompt": prompt, "response": response, **ratings}


def open_math(problem, solution, answer="3"):
    return {
        "problem": problem,
        "generated_solution": solution,
        "expected_answer": answer,
        "problem_source": "augmented_math",
    }


def magpie_chinese(instruction, category):
    return {
        "uuid": "u",
        "model": "Qwen/Qwen2-72B-Instruct",
        "gen_input_configs": {"temperature": 1.0, "top_p": 1.0, "input_generator": "Qwen2-72B", "seed": None},
        "instruction": instruction,
        "response": "r",
        "conversations": [{"from": "human", "value": instruction}, {"from": "gpt", "value": "r"}],
        "task_category": category,
        "other_task_category": ["Others"],
        "difficulty": "easy",
        "llama_guard_2": "safe",
        "instruct_reward": -1.5,
        "language": "ZH",
    }


def leetcode(query, **changes):
    row = {
        "task_id": "add-one", "question_id": 1, "difficulty": "Easy", "tags": ["Math"], "estimated_date": "2024-01-01",
        "problem_description": "d", "starter_code": "class Solution:\n    def add(self, n: int) -> int:\n        ",
        "prompt": "from typing import *\n", "entry_point": "Solution().add", "query": query, "response": "r",
        "completion": "class Solution:\n    def add(self, n: int) -> int:\n        return n + 1\n",
        "test": "def check(candidate):\n    assert candidate(n = 1) == 2\n",
        "input_output": [{"input": "n = 1", "output": "2"}],
    }  # fmt: skip
    return row | changes


def self_oss(instruction):
    return {
        "fingerprint": None, "sha1": "s", "seed": "def f(): ...", "concepts": ["c"], "prompt": "few shots", "id": 1,
        "instruction": instruction, "response": "It adds.\n\n```python\ndef add(n):\n    return n + 1\n```\n",
    }  # fmt: skip


ADDS = "Write a function that adds one."
WITH_TESTS = f"{ADDS}\n\nYour code should pass the following assertion:\n```python\nassert add(1) == 2\n```"

FILES = {
    Preset.ULTRA_FEEDBACK: {
        "evol_instruct.jsonl": jsonl(
            ultra_feedback("Write a Python function that adds.", "evol_instruct"),
            ultra_feedback("Write a poem about the sea, in which a gull talks to the old keeper of the light.", "evol"),
        ),
        "truthful_qa.jsonl": jsonl(
            ultra_feedback("What happens if you swallow gum?", "truthful_qa"),
            ultra_feedback("write a poem about the SEA in which a gull talks to the old keeper of the light", "evol"),
        ),
    },
    Preset.MAGPIE_PRO_DPO: {
        "data/train-00000-of-00001.parquet": parquet(
            magpie_dpo("Name three rivers.", "Information seeking"),
            magpie_dpo("My loop never ends.", "Coding & Debugging"),
            magpie_dpo("What is a group?", "Math"),
        ),
        "data/test-00000-of-00001.parquet": parquet(magpie_dpo("Only for testing.", "Reasoning")),
    },
    Preset.HELP_STEER_2: {
        "train.jsonl.gz": gzip.compress(
            jsonl(
                help_steer("c#", "a"), help_steer("c#", "b"), help_steer("Plan a trip.", "a"),
                help_steer("Hi\n<extra_id_1>Assistant\nHello\n<extra_id_1>User\nA joke!", "b"),
            )
        ),
        "validation.jsonl.gz": gzip.compress(jsonl(help_steer("Only for validation.", "a"))),
        "preference/preference.jsonl.gz": gzip.compress(jsonl({"split": "train", "prompt": "p", "response_1": "a"})),
    },
    Preset.OPEN_MATH_INSTRUCT_2: {
        "data/train-00000-of-00002.parquet": parquet(open_math("1 + 2 = ?", "three"), open_math("1 + 2 = ?", "is 3")),
        "data/train-00001-of-00002.parquet": parquet(open_math("2 + 2 = ?", "four", "4")),
        "data/train_1M-00000-of-00001.parquet": parquet(open_math("1 + 2 = ?", "three")),
    },
    Preset.LEETCODE_DATASET: {
        "LeetCodeDataset-train.jsonl": jsonl(leetcode("Add one to n."), leetcode("Which test?", test=None)),
        "LeetCodeDataset-test.jsonl": jsonl(leetcode("Only for testing.")),
    },
    Preset.SELF_OSS_INSTRUCT: {
        "data/train-00000-of-00001.parquet": parquet(self_oss(ADDS), self_oss(WITH_TESTS), self_oss("Sort a list."))
    },
    Preset.ALPACA_GPT4_ZH: {
        "alpaca_gpt4_data_zh.json": json.dumps(
            [
                {"instruction": "保持健康的三个提示。", "input": "", "output": "一"},
                {"instruction": "翻译成英文", "input": "你好", "output": "Hello"},
                {"instruction": "用Python编写一个函数", "input": "", "output": "def"},
            ]
        ).encode(),
    },
    Preset.MAGPIE_QWEN2_CHINESE: {
        f"data/train-0000{n}-of-00002.parquet": parquet(magpie_chinese(text, category))
        for n, (text, category) in enumerate([("介绍杭州", "Editing"), ("写一段代码", "Coding & Debugging")])
    },
}  # fmt: skip
PROMPTS = {
    Preset.ULTRA_FEEDBACK: {
        "Write a poem about the sea, in which a gull talks to the old keeper of the light.",
        "What happens if you swallow gum?",
    },
    Preset.MAGPIE_PRO_DPO: {"Name three rivers."},
    Preset.HELP_STEER_2: {"Plan a trip.", "A joke!"},
    Preset.OPEN_MATH_INSTRUCT_2: {"1 + 2 = ?", "2 + 2 = ?"},
    Preset.LEETCODE_DATASET: {"Add one to n."},
    Preset.SELF_OSS_INSTRUCT: {WITH_TESTS},
    Preset.ALPACA_GPT4_ZH: {"保持健康的三个提示。", "翻译成英文\n你好"},
    Preset.MAGPIE_QWEN2_CHINESE: {"介绍杭州"},
}
DROPPED = {
    Preset.ULTRA_FEEDBACK: {"code": 1, "near_duplicates": 1},
    Preset.MAGPIE_PRO_DPO: {"code": 1, "mathematics": 1},
    Preset.HELP_STEER_2: {"code": 1, "duplicates": 1},
    Preset.OPEN_MATH_INSTRUCT_2: {},
    Preset.LEETCODE_DATASET: {"bad_rows": 1},
    Preset.SELF_OSS_INSTRUCT: {"no_tests": 2},
    Preset.ALPACA_GPT4_ZH: {"code": 1},
    Preset.MAGPIE_QWEN2_CHINESE: {"code": 1},
}


def prepared(volume, preset):
    """Plan a run over the preset, put its files where resolve does, and run the prepare stage of the plan."""
    data = {"name": "d", "preset": str(preset), "task": str(preset_data(preset).task)}
    spec = fill(FusionRunSpec.model_validate(make_spec(datasets=[data], sources=[*make_spec()["sources"], KEPT])))
    spec = spec.model_copy(update={"evaluation": spec.evaluation.model_copy(update={"benchmarks": []})})
    plan = build_plan(spec)
    pins = tuple(PIN for _ in plan.references)
    digests = {s.name: stage_digest(s.name, [], []) for s in plan.stages}
    pinned = PinnedPlan(namespace="n", name="r", uid=UID, spec=spec, plan=plan, pins=pins, digests=digests)
    task = build_task(pinned, plan["prepare/prompts"])
    (reference,) = [r for r in plan.references if r.field == "datasets[d]"]
    assert reference.uri == PRESET_URIS[preset]
    folder = volume / "fusionrun" / "datasets" / PIN
    # The files that resolve downloads from the hub and checks.
    for name in select_split(FILES[preset], reference.split):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(FILES[preset][name])
    check_columns(open_dataset(task.parameters.datasets[0], "datasets"), reference.columns)
    task = StageTask.model_validate_json(task.model_dump_json())
    return prepare.run(make_work(volume / "out", task.parameters, task.stage))


@pytest.mark.parametrize("preset", FILES, ids=str)
def test_a_preset_reads_the_schema_of_its_data_set(volume, preset):
    made = prepared(volume, preset)
    rows = read_shards(volume / "out" / "prompts", Prompt)
    assert {p.prompt for p in rows} == PROMPTS[preset]
    counted = ("duplicates", "near_duplicates", "code", "mathematics", "bad_rows", "no_tests")
    assert {k: getattr(made.values, k) for k in counted if getattr(made.values, k)} == DROPPED[preset]
    assert {p.task for p in rows} == {str(preset_data(preset).task)}


def test_the_marks_of_help_steer_become_turns(volume):
    prepared(volume, Preset.HELP_STEER_2)
    (chat,) = [p for p in read_shards(volume / "out" / "prompts", Prompt) if p.history]
    turns = [(message.role, message.content) for message in chat.messages]
    assert turns == [("user", "Hi"), ("assistant", "Hello"), ("user", "A joke!")]


def test_all_responses_of_open_math_instruct_are_kept_once(volume):
    prepared(volume, Preset.OPEN_MATH_INSTRUCT_2)
    found = read_shards(volume / "out" / "responses" / "kept", Response)
    assert sorted(r.text for r in found) == ["four", "is 3", "three"]


def test_every_preset_is_tested_here_or_refused():
    refused = set()
    for preset in Preset:
        data = {"name": "d", "preset": str(preset), "task": str(preset_data(preset).task)}
        spec = fill(FusionRunSpec.model_validate(make_spec(datasets=[data])))
        if any("no tests" in error.rule for error in check_spec(spec)):
            refused.add(preset)
    assert refused == {Preset.LEETCODE}
    assert set(FILES) == set(Preset) - refused
