"""evaluate: scores in percent."""

import pytest

from fusionrun.api.evaluation import Grader
from fusionrun.api.evaluation_tasks import BenchmarkParameters, EvaluateParameters
from fusionrun.api.records import Verdict, VerdictValue
from fusionrun_stages import evaluate
from fusionrun_stages.errors import UserError
from fusionrun_stages.grade import PROMPT_FAULT
from fusionrun_stages.volume.parquet import write_rows
from fusionrun_stages.volume.paths import shard_path
from support.stage import make_work, prompt, response, write_inputs


def run(tmp_path, grader, answers, responses, verdicts=()):
    """Evaluate one benchmark; ``answers`` are the reference answers by prompt."""
    for shard in range(2):
        mine = list(answers)[shard::2]
        prompts = [prompt(name, dataset="bench", task="ExactMatch", answer=answers[name]) for name in mine]
        folders = write_inputs(tmp_path, prompts, [r for r in responses if r.prompt_id in mine], shard, 2)
        rows = [v for v in verdicts if v.prompt_id in mine]
        write_rows(shard_path(tmp_path / "verdicts", shard, 2), Verdict, rows)
    benchmarks = [BenchmarkParameters(name="bench", grader=grader)]
    folders["verdicts_dir"] = str(tmp_path / "verdicts") if verdicts else None
    return evaluate.run(make_work(tmp_path, EvaluateParameters(model="base", benchmarks=benchmarks, **folders)))


def test_the_score_is_the_percentage_of_right_responses(tmp_path):
    responses = [
        response("0", "a"),
        response("1", "x"),
        response("2", "c", finish="length"),  # truncated: wrong, even if it matches
        response("3", finish="error"),
        response("4", " ", reasoning="e"),  # no answer: wrong
        response("5", "f"),  # no reference: left out
    ]
    answers = {"0": "a", "1": "b", "2": "c", "3": "d", "4": "e", "5": None}
    made = run(tmp_path, Grader.EXACT_MATCH, answers, responses)
    assert (made.values.graded, made.values.scores) == ({"bench": 5}, {"bench": 20.0})
    details = made.details["bench"]
    assert [details[name] for name in ("right", "left_out", "truncated", "failed", "blank")] == [1, 1, 1, 1, 1]
    assert details["standard_error"] == pytest.approx(17.8885)
    assert len(details["wrong_answers"]) == 3


def test_coding_uses_the_verdicts_of_the_sandbox(tmp_path):
    details = ["", "", "not done", PROMPT_FAULT + "x"]
    values = [VerdictValue.RIGHT, VerdictValue.WRONG, VerdictValue.UNKNOWN, VerdictValue.UNKNOWN]
    verdicts = [
        Verdict(prompt_id=str(n), source="base", sample_index=0, verdict=value, detail=details[n])
        for n, value in enumerate(values)
    ]
    names = [v.prompt_id for v in verdicts]
    made = run(tmp_path, Grader.CODING, dict.fromkeys(names), [response(n, "…") for n in names], verdicts)
    assert (made.values.graded, made.values.scores) == ({"bench": 3}, {"bench": pytest.approx(33.3333)})


def test_mathematics_is_graded_by_evaluate(tmp_path):
    responses = [response(name, r"\boxed{4}") for name in "01"]
    made = run(tmp_path, Grader.MATHEMATICS, {"0": "4", "1": "5"}, responses)
    assert made.values.scores == {"bench": 50.0}


def test_a_benchmark_without_usable_prompts_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match=r"evaluation.benchmarks\[0\] \(bench\)"):
        run(tmp_path, Grader.EXACT_MATCH, {"0": None}, [response("0", "a")])
