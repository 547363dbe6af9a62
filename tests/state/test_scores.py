"""Scores with intervals, differences, averages beside the paper's, and gates."""

import pytest

from fusionrun.api.results.result import Outcome, StageResult
from fusionrun.api.results.values import Compared, Difference, Evaluated
from fusionrun.api.spec.evaluation import Evaluation, Grader
from fusionrun.api.spec.models import Sampling
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.status.conditions import Reason
from fusionrun.api.status.results import BenchmarkResult, ModelDifference, ModelScore
from fusionrun.api.tasks.evaluation import BenchmarkParameters
from fusionrun.api.tasks.protocol import JudgeRequest, Protocol, Unit
from fusionrun.api.tasks.task import decode_task
from fusionrun.state.report.gate import gate_failures, gate_results
from fusionrun.state.report.scores import group_results, with_differences, with_scores
from support.runs import make_run, make_spec
from support.world import World, succeeded


def result(values):
    return [StageResult(outcome=Outcome.SUCCEEDED, values=values)]


def evaluation(*names, gate=()):
    columns = {"answer": "answer"}
    benchmarks = [{"name": n, "uri": "pvc://c/x", "grader": "Mathematics", "columns": columns} for n in names]
    return Evaluation.model_validate({"benchmarks": benchmarks, "gate": list(gate)})


def judged(name, **fields):
    request = JudgeRequest(temperature=0, model="official")
    fields = {"name": "FuseEval/ArenaHard", "version": 2, "sampling": Sampling(), "judge": request} | fields
    return BenchmarkParameters(
        name=name, grader=Grader.ARENA_HARD, protocol=Protocol(grader=Grader.ARENA_HARD, **fields)
    )


def test_scores_have_intervals_protocol_and_judge():
    values = Evaluated(scores={"a": 40.126, "b": 10.0}, graded={"a": 500}, lower={"a": 36.2}, upper={"a": 44.5})
    benchmarks = [judged("a", modified=True, unit=Unit.RATING), BenchmarkParameters(name="b", grader="Mathematics")]
    first, second = with_scores([], evaluation("a", "b"), "final", result(values), benchmarks, "my-judge")
    assert first.model_dump(by_alias=False, exclude_none=True) == {
        "benchmark": "a", "final": 40.13, "unit": "Rating", "protocol": "FuseEval/ArenaHard 2", "modified": True,
        "judge": "my-judge", "differences": [],
        "scores": [{"model": "final", "score": 40.13, "lower": 36.2, "upper": 44.5, "prompts": 500}],
    }  # fmt: skip
    assert (second.final, second.judge, second.scores) == (10.0, None, [])


def test_a_score_is_replaced_and_those_of_other_models_stay_in_the_order_of_the_models():
    rows = []
    for model, score in (("base", 20.0), ("final", 50.0), ("base", 30.0), ("other", 1.0)):
        values = Evaluated(scores={"a": score}, lower={"a": score - 1}, upper={"a": score + 1})
        rows = with_scores(rows, evaluation("a"), model, result(values))
    (row,) = rows
    assert [(s.model, s.score) for s in row.scores] == [("base", 30.0), ("final", 50.0), ("other", 1.0)]
    assert (row.base, row.final, row.delta) == (30.0, 50.0, 20.0)


def test_the_differences_are_those_of_the_pairs():
    difference = Difference(delta=3.0, lower=1.0, upper=5.0, p_value=0.01, prompts_needed=80)
    values = Compared(differences={"final-base": {"a": difference, "gone": difference}, "final-sft": {}})
    rows = [BenchmarkResult(benchmark="a"), BenchmarkResult(benchmark="b")]
    first, second = with_differences(rows, [("final", "base"), ("final", "sft")], result(values))
    (shown,) = first.differences
    assert (shown.model, shown.against, shown.delta, shown.lower, shown.upper) == ("final", "base", 3.0, 1.0, 5.0)
    assert (shown.p_value, shown.prompts_needed, second.differences) == (0.01, 80, [])
    assert with_differences(rows, [("final", "base")], []) == rows


PRESETS = {"gsm": "GSM8K", "math": "MATH", "arena": "ArenaHard", "redux": "MMLURedux", "mmlu": "MMLU"}


def papers_spec(uri="hf://meta-llama/Llama-3.1-8B-Instruct"):
    spec = make_spec()
    benchmarks = [{"name": name, "preset": preset, "uri": "pvc://c/x"} for name, preset in PRESETS.items()]
    benchmarks.append({"name": "own", "uri": "pvc://c/x", "grader": "ExactMatch", "columns": {"answer": "a"}})
    spec["evaluation"] = spec["evaluation"] | {"benchmarks": benchmarks, "gate": []}
    spec["target"]["model"]["uri"] = uri
    return FusionRunSpec.model_validate(spec)


def test_group_averages_stand_beside_the_published_ones_over_the_same_benchmarks():
    rows = [
        BenchmarkResult(benchmark=name, base=base, final=base + 10, modified=name == "math" or None)
        for name, base in (("gsm", 80.0), ("math", 40.0), ("arena", 20.0), ("redux", 60.0), ("mmlu", 0.0), ("own", 0.0))
    ]
    groups = {g.group: g for g in group_results(papers_spec(), rows)}
    assert list(groups) == ["InstructionFollowing", "General", "Mathematics", "All"]
    mathematics = groups["Mathematics"]
    assert (mathematics.base, mathematics.sft, mathematics.final, mathematics.modified) == (60.0, None, 70.0, 1)
    assert mathematics.published_target == "Llama-3.1-8B-Instruct"
    # GSM8K and MATH of the README: 85.9 and 50.7, 87.0 and 54.7, 88.0 and 55.2
    published = (mathematics.published_base, mathematics.published_sft, mathematics.published_final)
    assert published == (68.3, 70.85, 71.6)
    assert (groups["General"].benchmarks, groups["All"].benchmarks, groups["All"].base) == (1, 4, 50.0)


def test_averages_need_every_score_and_a_target_of_the_paper():
    rows = [BenchmarkResult(benchmark=name, base=50.0) for name in ("gsm", "math", "arena", "redux")]
    assert group_results(papers_spec(), rows[:2]) == []
    (row, *_) = group_results(papers_spec("pvc://c/own"), rows)
    assert (row.base, row.final, row.published_target, row.published_base) == (50.0, None, None, None)
    plain = FusionRunSpec.model_validate(make_spec())
    assert (
        group_results(plain, [BenchmarkResult(benchmark=b.name, base=1.0) for b in plain.evaluation.benchmarks]) == []
    )


def measured(delta=6.0, lower=1.5, upper=10.5, against="base", unit="Percent"):
    difference = ModelDifference(
        model="final", against=against, delta=delta, lower=lower, upper=upper, p_value=0.01, prompts_needed=110
    )
    scores = [ModelScore(model="final", score=46.0, prompts=200)]
    fields = {"base": 40.0, "sft": 40.0, "final": 46.0, "unit": unit, "scores": scores, "differences": [difference]}
    return BenchmarkResult(benchmark="a", **fields)


INTERVAL = "difference +6 percentage points (95 % interval 1.5 to 10.5)"


@pytest.mark.parametrize(
    ("gate", "row", "passed", "message"),
    [
        ({}, measured(), True, f"a: 46 against Base 40: {INTERVAL}: the difference is at least minDelta 0; "
         "to see a difference of 6 takes 110 prompts, 200 were graded"),
        ({"statistic": "LowerBound", "minDelta": 2}, measured(), False,
         f"a: 46 against Base 40: {INTERVAL}: the lower bound is less than minDelta 2; "
         "to see a difference of 2 takes 2,069 prompts, 200 were graded"),
        ({"statistic": "LowerBound"}, measured(), True, f"a: 46 against Base 40: {INTERVAL}: the lower bound is at "
         "least minDelta 0; to see a difference of 6 takes 110 prompts, 200 were graded"),
        ({"against": "Sft"}, measured(against="sft", unit="Rating"), True, "a: 46 against Sft 40: difference +6 points "
         "(95 % interval 1.5 to 10.5): the difference is at least minDelta 0; "
         "to see a difference of 6 takes 110 prompts, 200 were graded"),
        ({"against": "Sft", "statistic": "LowerBound"}, measured(), False,
         "a: 46 against Sft 40: the interval of the difference is not known"),
        ({"minDelta": 7}, BenchmarkResult(benchmark="a", base=40.0, final=46.0), False,
         "a: 46 against Base 40: less than minDelta 7"),  # as in release 0.2.0
        ({"statistic": "LowerBound"}, BenchmarkResult(benchmark="a", base=40.0, final=46.0), False,
         "a: 46 against Base 40: the interval of the difference is not known"),
        ({}, BenchmarkResult(benchmark="a", final=46.0), False, "a: no score"),
        ({}, BenchmarkResult(benchmark="a", final=46.0, scores=[ModelScore(model="base", message="no verdict")]), False,
         "a: no score of base: no verdict"),
    ],
)  # fmt: skip
def test_a_gate_tests_the_difference_or_its_lower_bound_and_says_both(gate, row, passed, message):
    spec = evaluation("a", gate=[{"benchmark": "a", **gate}])
    (found,) = gate_results(spec, [row])
    assert (found.passed, found.message) == (passed, message)
    assert gate_failures(spec, [row]) == ([] if passed else [message])


def test_a_model_without_a_score_is_reported_once_and_the_run_completes():
    def answer(kind, task):
        found = succeeded(kind, task)
        if kind != "evaluate" or task.parameters.model != "final":
            return found
        name, *others = found.values.scores
        scores = {other: found.values.scores[other] for other in others}
        return found.model_copy(
            update={"values": found.values.model_copy(update={"scores": scores, "unscored": {name: "no verdict"}})}
        )

    world = World(make_run(), answer=answer)
    world.run_to_end()
    row = world.status.results[0]
    (score,) = [s for s in row.scores if s.model == "final"]
    assert (row.final, row.delta, score.score, score.message) == (None, None, None, "no verdict")
    warned = [(e.type, e.message) for e in world.events if e.reason == Reason.SCORE_MISSING]
    assert warned == [("Warning", f"{row.benchmark}: no score of final: no verdict")]
    assert world.condition("Ready")[0] == "True"


def test_a_run_compares_its_models_before_it_publishes():
    """The whole way: results of pods, status, gate, and the task of ``publish``."""

    def answer(kind, task):
        found = succeeded(kind, task)
        names = [b.name for b in getattr(task.parameters, "benchmarks", [])] if kind in ("evaluate", "compare") else []
        if kind == "evaluate":
            bounds = {"lower": dict.fromkeys(names, 19.0), "upper": dict.fromkeys(names, 61.0)}
            graded = dict.fromkeys(names, 100)
            values = found.values.model_copy(update={**bounds, "graded": graded})
        elif kind == "compare":
            difference = Difference(delta=40.0, lower=30.0, upper=50.0, p_value=0.001, prompts_needed=20)
            values = Compared(differences={"final-base": dict.fromkeys(names, difference)})
        else:
            return found
        return found.model_copy(update={"values": values})

    gate = [{"benchmark": "math-test", "minDelta": 35, "statistic": "LowerBound"}]
    publish = {"uri": "pvc://fusion-data/out", "evenIfGateFailed": True}
    world = World(make_run(evaluation=make_spec()["evaluation"] | {"gate": gate}, publish=publish), answer=answer)
    world.run_to_end()
    row = world.status.results[0]
    assert {s.model: (s.lower, s.prompts) for s in row.scores} == dict.fromkeys(("base", "sft", "final"), (19.0, 100))
    assert [(d.model, d.against, d.lower) for d in row.differences] == [("final", "base", 30.0)]
    assert (row.unit, row.protocol) == ("Percent", "FusionRun/Mathematics 1")
    status, reason, message = world.condition("EvaluationPassed")
    assert (status, reason) == ("False", "EvaluationFailed")
    assert "the lower bound is less than minDelta 35; to see a difference of 35 takes 17 prompts" in message
    (task,) = [
        decode_task(o["data"]["task.json"])
        for o in world.objects.values()
        if o["kind"] == "ConfigMap" and o["metadata"]["labels"].get("fusionrun.dev/stage") == "publish"
    ]
    assert task.parameters.results[0] == row
