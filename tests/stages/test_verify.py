"""verify: the verdicts of a shard by grader."""

import pytest

pytest.importorskip("pyarrow")

from fusionrun.api.artifacts import shard_name
from fusionrun.api.data import Grader
from fusionrun.api.parameters import VerifyParameters
from fusionrun.api.records import Prompt, Response, Verdict, VerdictValue
from fusionrun.api.task import StageTask
from fusionrun.api.values import Verified
from fusionrun_stages import verify
from fusionrun_stages.grade import PROMPT_FAULT
from fusionrun_stages.grading import judging
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


def test_exact_match_verdicts_are_sorted(tmp_path):
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


def test_mathematics_is_graded(tmp_path):
    pytest.importorskip("math_verify")
    made, _ = run(
        tmp_path,
        Grader.MATHEMATICS,
        [prompt("a", answer="4"), prompt("b", answer="x+")],
        [response("a", r"\boxed{4}"), response("a", r"\boxed{5}", sample=1), response("b", "1")],
    )
    assert made.values == Verified(right=1, wrong=1, unknown=1)


def test_without_responses_the_file_is_empty(tmp_path):
    for grader in Grader:
        made, rows = run(tmp_path, grader, [prompt("a", dataset="other")], [response("a", "1")])
        assert (rows, made.values) == ([], Verified())


def test_batches_do_not_change_the_verdicts(tmp_path, monkeypatch):
    prompts = [prompt(f"{n:03}", dataset="other" if n % 10 == 3 else "d", answer=str(n)) for n in range(100)]
    responses = [response(f"{n:03}", str(n + s % 2), sample=s) for n in range(0, 120, 2) for s in (2, 0, 1)]
    _, rows = run(tmp_path, Grader.EXACT_MATCH, prompts, responses)
    (whole,) = (tmp_path / "verdicts").iterdir()
    before = whole.read_bytes()
    held, reports = [], []
    real = verify.judge
    monkeypatch.setattr(judging, "BATCH_RESPONSES", 10)
    monkeypatch.setattr(verify, "judge", lambda grader, batch: held.append(batch) or real(grader, batch))
    made, again = run(
        tmp_path, Grader.EXACT_MATCH, prompts, responses, report=lambda done, total, _: reports.append((done, total))
    )
    assert again == rows
    assert whole.read_bytes() == before
    assert max(sum(len(q.responses) for q in batch) for batch in held) == 12  # a prompt is not split
    assert [row.prompt_id for row in rows] == sorted(row.prompt_id for row in rows)
    assert made.values == Verified(right=100, wrong=50, unknown=0)
    assert reports[-1] == (150, 180)
