"""evaluate: scores in percent."""

import pytest

pytest.importorskip("pyarrow")

from fusionrun.api.artifacts import shard_name
from fusionrun.api.data import Grader
from fusionrun.api.parameters import BenchmarkParameters, EvaluateParameters
from fusionrun.api.records import Prompt, Response, Verdict, VerdictValue
from fusionrun.api.task import StageTask
from fusionrun_stages import evaluate
from fusionrun_stages.errors import UserError
from fusionrun_stages.grade import PROMPT_FAULT
from fusionrun_stages.volume.parquet import write_rows
from fusionrun_stages.work import Work


def run(tmp_path, benchmarks, prompts, responses, verdicts=()):
    for shard in range(2):
        file = shard_name(shard, 2) + ".parquet"
        mine = {p.prompt_id for i, p in enumerate(prompts) if i % 2 == shard}
        write_rows(tmp_path / "prompts" / file, Prompt, [p for p in prompts if p.prompt_id in mine])
        write_rows(tmp_path / "responses" / file, Response, [r for r in responses if r.prompt_id in mine])
        write_rows(tmp_path / "verdicts" / file, Verdict, [v for v in verdicts if v.prompt_id in mine])
    parameters = EvaluateParameters(
        model="base",
        benchmarks=benchmarks,
        prompts_dir=str(tmp_path / "prompts"),
        responses_dir=str(tmp_path / "responses"),
        verdicts_dir=str(tmp_path / "verdicts") if verdicts else None,
        shards=2,
    )
    task = StageTask(
        run="r", namespace="n", stage="evaluate/base", digest="x", output_dir=str(tmp_path), parameters=parameters
    )
    return evaluate.run(Work(task, tmp_path, None, "uid", lambda *_, **__: None))


def prompt(name, dataset, answer=None):
    return Prompt(prompt_id=name, dataset=dataset, task="ExactMatch", prompt="?", answer=answer)


def response(name, dataset, text, finish="stop"):
    return Response(prompt_id=name, dataset=dataset, source="base", sample_index=0, text=text, finish_reason=finish)


def test_the_score_is_the_percentage_of_right_responses(tmp_path):
    words = BenchmarkParameters(name="words", grader=Grader.EXACT_MATCH)
    prompts = [prompt(str(i), "words", answer) for i, answer in enumerate(["a", "b", "c", "d", "e", None])]
    made = run(
        tmp_path,
        [words],
        prompts,
        [
            response("0", "words", "a"),
            response("1", "words", "x"),
            response("2", "words", "c", finish="length"),  # truncated: wrong, even if it matches
            response("3", "words", "", finish="error"),
            response("5", "words", "f"),  # no reference: left out
        ],
    )
    assert made.values.graded == {"words": 5}
    assert made.values.scores == {"words": 20.0}
    details = made.details["words"]
    assert {k: details[k] for k in ("right", "left_out", "truncated", "failed")} == {
        "right": 1,
        "left_out": 1,
        "truncated": 1,
        "failed": 2,
    }
    assert details["standard_error"] == pytest.approx(17.8885)
    assert len(details["wrong_answers"]) == 3


def test_coding_uses_the_verdicts_of_the_sandbox(tmp_path):
    programs = BenchmarkParameters(name="programs", grader=Grader.CODING)
    values = [("0", VerdictValue.RIGHT, ""), ("1", VerdictValue.WRONG, ""), ("2", VerdictValue.UNKNOWN, "not done"),
              ("3", VerdictValue.UNKNOWN, PROMPT_FAULT + "x")]  # fmt: skip
    made = run(
        tmp_path,
        [programs],
        [prompt(name, "programs") for name, _, _ in values],
        [response(name, "programs", "…") for name, _, _ in values],
        [Verdict(prompt_id=n, source="base", sample_index=0, verdict=v, detail=d) for n, v, d in values],
    )
    assert made.values.graded == {"programs": 3}
    assert made.values.scores == {"programs": pytest.approx(33.3333)}


def test_mathematics_is_graded_by_evaluate(tmp_path):
    pytest.importorskip("math_verify")
    made = run(
        tmp_path,
        [BenchmarkParameters(name="sums", grader=Grader.MATHEMATICS)],
        [prompt("0", "sums", "4"), prompt("1", "sums", "5")],
        [response("0", "sums", r"\boxed{4}"), response("1", "sums", r"\boxed{4}")],
    )
    assert made.values.scores == {"sums": 50.0}


def test_a_benchmark_without_usable_prompts_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match=r"evaluation.benchmarks\[0\] \(words\)"):
        run(
            tmp_path,
            [BenchmarkParameters(name="words", grader=Grader.EXACT_MATCH)],
            [prompt("0", "words")],
            [response("0", "words", "a")],
        )
