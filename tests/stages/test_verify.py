"""verify: which responses are judged, by which grader, and what is written."""

import pytest

pytest.importorskip("pyarrow")

from fusionrun.api.artifacts import shard_name
from fusionrun.api.data import Grader
from fusionrun.api.parameters import VerifyParameters
from fusionrun.api.records import Prompt, Response, Verdict, VerdictValue
from fusionrun.api.task import StageTask
from fusionrun.api.values import Verified
from fusionrun_stages import verify
from fusionrun_stages.errors import InfrastructureError
from fusionrun_stages.grade import PROMPT_FAULT
from fusionrun_stages.grading import coding, exact_match
from fusionrun_stages.volume.parquet import read_rows, write_rows
from fusionrun_stages.work import Work

RIGHT, WRONG, UNKNOWN = VerdictValue.RIGHT, VerdictValue.WRONG, VerdictValue.UNKNOWN


def prompt(name, dataset="d", **fields):
    return Prompt(prompt_id=name, dataset=dataset, task="Mathematics", prompt="?", **fields)


def response(name, text="", sample=0, finish="stop", **fields):
    return Response(
        prompt_id=name, dataset="d", source="s", sample_index=sample, text=text, finish_reason=finish, **fields
    )


def run(tmp_path, grader, prompts, responses, datasets=("d",), report=lambda *_, **__: None):
    file = shard_name(1, 3) + ".parquet"
    write_rows(tmp_path / "prompts" / file, Prompt, sorted(prompts, key=lambda row: row.prompt_id))
    write_rows(tmp_path / "responses" / file, Response, sorted(responses, key=lambda row: row.prompt_id))
    parameters = VerifyParameters(
        grader=grader,
        datasets=list(datasets),
        source="s",
        prompts_dir=str(tmp_path / "prompts"),
        responses_dir=str(tmp_path / "responses"),
        shards=3,
    )
    task = StageTask(
        run="r", namespace="n", stage="verify/s", digest="x", output_dir=str(tmp_path), shards=3, parameters=parameters
    )
    made = verify.run(Work(task, tmp_path, 1, "uid", report))
    assert made.files == [f"verdicts/{file}"]
    return made, list(read_rows(tmp_path / made.files[0], Verdict))


def test_exact_match_is_judged_in_order(tmp_path):
    made, rows = run(
        tmp_path,
        Grader.EXACT_MATCH,
        [prompt("b", answer="x y"), prompt("a", answer="X"), prompt("c", dataset="other", answer="X"), prompt("e")],
        [
            response("b", " x\n y ", sample=1),
            response("b", "x z", sample=0),
            response("a", "x"),
            response("c", "X"),
            response("e", "1"),
            response("a", "", sample=1, finish="error", error="HTTP 400"),
            response("a", "X", sample=2, finish="length"),
        ],
    )
    assert [(row.prompt_id, row.sample_index, row.verdict) for row in rows] == [
        ("a", 0, WRONG),
        ("a", 1, UNKNOWN),
        ("a", 2, RIGHT),
        ("b", 0, WRONG),
        ("b", 1, RIGHT),
        ("e", 0, UNKNOWN),
    ]
    assert rows[1].detail == "the request failed: HTTP 400"
    assert rows[-1].detail.startswith(PROMPT_FAULT)
    assert made.values == Verified(right=2, wrong=2, unknown=2)


def test_mathematics_is_judged(tmp_path):
    pytest.importorskip("math_verify")
    made, _ = run(
        tmp_path,
        Grader.MATHEMATICS,
        [prompt("a", answer="4"), prompt("b", answer="x+")],
        [response("a", r"\boxed{4}"), response("a", r"\boxed{5}", sample=1), response("b", "1")],
    )
    assert made.values == Verified(right=1, wrong=1, unknown=1)


def test_nothing_to_judge_is_an_empty_file(tmp_path):
    for grader in Grader:
        made, rows = run(tmp_path, grader, [prompt("a", dataset="other")], [response("a", "1")])
        assert (rows, made.values) == ([], Verified())


def test_a_shard_is_judged_some_prompts_at_a_time_and_comes_out_the_same(tmp_path, monkeypatch):
    prompts = [prompt(f"{n:03}", dataset="other" if n % 10 == 3 else "d", answer=str(n)) for n in range(100)]
    responses = [response(f"{n:03}", str(n + s % 2), sample=s) for n in range(0, 120, 2) for s in (2, 0, 1)]
    _, rows = run(tmp_path, Grader.EXACT_MATCH, prompts, responses)
    (whole,) = (tmp_path / "verdicts").iterdir()
    before = whole.read_bytes()
    held, told = [], []
    real = verify.judge
    monkeypatch.setattr(verify, "BATCH_RESPONSES", 10)
    monkeypatch.setattr(verify, "judge", lambda grader, questions: held.append(questions) or real(grader, questions))
    made, again = run(
        tmp_path, Grader.EXACT_MATCH, prompts, responses, report=lambda done, total, _: told.append((done, total))
    )
    assert again == rows
    assert whole.read_bytes() == before
    assert max(sum(len(q.responses) for q in batch) for batch in held) == 12  # whole prompts
    assert [row.prompt_id for row in rows] == sorted(row.prompt_id for row in rows)
    assert made.values == Verified(right=100, wrong=50, unknown=0)
    assert told[-1] == (150, 180)


def test_long_answers_make_short_batches(monkeypatch):
    monkeypatch.setattr(verify, "BATCH_CHARACTERS", 100)
    questions = [verify.Question(prompt(str(n)), [response(str(n), "x" * 60)]) for n in range(5)]
    assert [len(batch) for batch in verify.batches(questions)] == [2, 2, 1]


@pytest.mark.parametrize("unsorted", ["prompts", "responses"])
def test_a_shard_that_is_not_sorted_fails_loudly(unsorted):
    names = {"prompts": ["a", "b"], "responses": ["a", "b"]} | {unsorted: ["b", "a"]}
    prompts, responses = [prompt(n) for n in names["prompts"]], [response(n) for n in names["responses"]]
    with pytest.raises(InfrastructureError, match="not sorted"):
        list(verify.gather(prompts, responses, ["d"]))


def test_exact_match_keeps_capitals():
    assert exact_match.grade("Reference", "reference").verdict is WRONG


ANSWERS = [
    ("def f(): pass", "def f(): pass"),
    ("Text\n```python\ndef f(): pass\n```\nmore", "def f(): pass\n"),
    ("```python\nx = 1\n```\n```python\ndef f(): pass\n```", "def f(): pass\n"),
    ("```python\ndef f(): pass\n```\nFor example:\n```python\nprint(f())\n```", "def f(): pass\n"),
    ("```bash\nls\n```\n```\ndef f(): pass\n```", "def f(): pass\n"),
    ("```python\ndef f():\n    return 1", "def f():\n    return 1"),
    ("```py\nx = 1\n```", "x = 1\n"),
]


@pytest.mark.parametrize(("answer", "program"), ANSWERS)
def test_the_program_is_found_in_the_answer(answer, program):
    assert coding.extract_program(answer) == program


@pytest.mark.parametrize(
    ("program", "detail"),
    [
        ("def f(:", "static: invalid syntax"),
        ("import os", "static: it imports os"),
        ("import numpy, os.path as p", "static: it imports os.path"),
        ("def f():\n    from subprocess import run", "static: it imports subprocess"),
        ("x = 1\0", "static: "),
        ("x" * 70000, "static: 70000 characters"),
        ("(" * 300 + ")" * 300, "static: too many nested parentheses"),
        ("x = " + "-" * 60000 + "1", "static: "),
        ("a" + ".a" * 30000, "static: "),
    ],
)
def test_static_analysis_refuses(program, detail):
    found = coding.analyse(program)
    assert found is not None
    assert found.verdict is WRONG
    assert found.detail.startswith(detail)


def test_static_analysis_lets_the_rest_through():
    assert coding.analyse("import math, sys\nfrom collections import *\ndef f(): pass") is None
