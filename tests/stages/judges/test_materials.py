"""Files of judges that are missing or malformed."""

import json

import pytest

from fusionrun.api.spec.evaluation import Grader
from fusionrun_stages.errors import UserError
from fusionrun_stages.judges.open import open_judge
from support.judges import ALIGN_BENCH, ARENA, CHATML, FILES, MT_BENCH, protocol

CODE = ALIGN_BENCH["judge.py"]


def arena(**changed) -> str:
    return json.dumps(ARENA | changed)


def mt_bench(**changed) -> str:
    return "\n".join(json.dumps(row | changed if row["name"] == "single-math-v1" else row) for row in MT_BENCH)


CASES = [
    (Grader.ALPACA_EVAL, "judge.txt", CHATML.replace("{output_2}", "{output}"), "{output_2} is missing"),
    (Grader.ALPACA_EVAL, "judge.txt", "Compare {output_1}", "not blocks of"),
    (Grader.ALPACA_EVAL, "judge.txt", CHATML.replace("system", "tool"), "not blocks of"),
    (Grader.ARENA_HARD, "judge.yaml", "a: [", "not YAML"),
    (Grader.ARENA_HARD, "judge.yaml", "text", "not a mapping"),
    (Grader.ARENA_HARD, "judge.yaml", arena(system_prompt=None), "system_prompt must be a text"),
    (
        Grader.ARENA_HARD,
        "judge.yaml",
        arena(prompt_template="{QUESTION}"),
        "prompt_template must be a list of one text",
    ),
    (Grader.ARENA_HARD, "judge.yaml", arena(prompt_template=["{question_1}"]), "{answer_1} is missing"),
    (Grader.ARENA_HARD, "judge.yaml", arena(prompt_template=["{question_1} {"]), "not a template"),
    (Grader.ARENA_HARD, "judge.yaml", arena(prompt_template=["{question_1!r}"]), "{question_1} must be a name only"),
    (Grader.MT_BENCH, "judge_prompts.jsonl", "{", "judge_prompts.jsonl:1: not JSON"),
    (Grader.MT_BENCH, "judge_prompts.jsonl", "{}", "judge_prompts.jsonl:1: not an object with a name"),
    (Grader.MT_BENCH, "judge_prompts.jsonl", "", "the template single-v1 is missing"),
    (Grader.MT_BENCH, "judge_prompts.jsonl", mt_bench(system_prompt=1), "single-math-v1: system_prompt must be a text"),
    (Grader.MT_BENCH, "judge_prompts.jsonl", mt_bench(prompt_template="{question}"), "single-math-v1: the placeholder"),
    (
        Grader.MT_BENCH,
        "judge_prompts.jsonl",
        mt_bench(prompt_template="{question} {answer} {ref_answer_1} {x}"),
        "{x} is",
    ),
    (Grader.ALIGN_BENCH, "judge.py", "base_prompt = ", "not Python"),
    (Grader.ALIGN_BENCH, "judge.py", "base_prompt = open('x').read()", "no text is assigned to base_prompt"),
    (
        Grader.ALIGN_BENCH,
        "judge.py",
        CODE.replace("{reference}", ""),
        "judge.py: base_prompt: the placeholder {reference}",
    ),
    (Grader.ALIGN_BENCH, "dimension_set.json", "[]", "not a JSON object"),
    (Grader.ALIGN_BENCH, "dimension_set.json", "{", "not JSON"),
    (Grader.ALIGN_BENCH, "dimension_set.json", "{}", "the kind '推理型' of subcategory '算术' has no list"),
    (Grader.ALIGN_BENCH, "dimension_definition.json", "{}", "the dimension '正确' has no definition"),
]


@pytest.mark.parametrize(("grader", "name", "text", "message"), CASES, ids=[f"{c[1]}: {c[3]}" for c in CASES])
def test_malformed(grader, name, text, message, opened) -> None:
    with pytest.raises(UserError) as caught:
        opened(grader, files={name: text})
    assert message in str(caught.value)
    assert name in str(caught.value)


@pytest.mark.parametrize(("grader", "name"), [(grader, name) for grader, files in FILES.items() for name in files])
def test_missing(grader, name, opened) -> None:
    with pytest.raises(UserError, match=f"{name}: the file is missing"):
        opened(grader, files={name: None})


def test_not_utf_8(tmp_path) -> None:
    (tmp_path / "judge.txt").write_bytes(b"ok \xff")
    with pytest.raises(UserError, match=r"judge\.txt: not UTF-8 at byte 3"):
        open_judge(protocol(Grader.ALPACA_EVAL), tmp_path)


def test_grader_without_a_judge(tmp_path) -> None:
    with pytest.raises(ValueError, match="Choice has no judge"):
        open_judge(protocol(Grader.CHOICE), tmp_path)
