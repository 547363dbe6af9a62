"""compare: paired differences of the models from their scores on each question."""

import json

import numpy as np
import pytest
from scipy import stats

from fusionrun.api.evaluation_records import QuestionScore
from fusionrun.api.spec.evaluation import Grader
from fusionrun.api.spec.models import Sampling
from fusionrun.api.tasks.evaluation import BenchmarkParameters, CompareParameters
from fusionrun.api.tasks.protocol import Aggregation, Protocol, Unit
from fusionrun_stages import compare
from fusionrun_stages.volume.parquet import write_rows
from support.stage import make_work

PAIRS = [("final", "base"), ("sft", "base")]


def benchmark(name, grader=Grader.CHOICE, protocol=None, **fields):
    fields = {"name": protocol or f"Own/{name}", "version": 1, "sampling": Sampling(), "grader": grader} | fields
    return BenchmarkParameters(name=name, grader=grader, protocol=Protocol(**fields))


def run(tmp_path, benchmarks, scores, pairs=PAIRS):
    """Compare models; ``scores`` has the values by model, then by benchmark and metric."""
    paths = {}
    for model, by_name in scores.items():
        rows = [
            QuestionScore(benchmark=name, metric=metric, prompt_id=f"{n:04d}", score=value, group=f"g{n % 2}")
            for (name, metric), values in by_name.items()
            for n, value in enumerate(values)
        ]
        paths[model] = str(tmp_path / f"{model}.parquet")
        write_rows(tmp_path / f"{model}.parquet", QuestionScore, rows[::-1])
    parameters = CompareParameters(benchmarks=benchmarks, scores=paths, pairs=pairs, seed=1)
    made = compare.run(make_work(tmp_path / "out", parameters))
    return made.values.differences, json.loads((tmp_path / "out" / "comparison.json").read_text())


def right(generator, count, share):
    return [100.0 * bool(hit) for hit in generator.random(count) < share]


def test_models_are_compared_question_by_question_and_corrected_over_the_benchmarks(tmp_path):
    generator = np.random.default_rng(1)
    names = ("a", "b", "c")
    scores = {
        model: {(name, ""): right(generator, 100, share) for name in names}
        for model, share in (("base", 0.4), ("sft", 0.5), ("final", 0.6))
    }
    differences, comparison = run(tmp_path, [benchmark(name) for name in names], scores)
    assert list(differences) == ["final-base", "sft-base"]
    raw = {}
    for name in names:
        final, base = (np.array(scores[model][name, ""]) for model in ("final", "base"))
        raw[name] = stats.binomtest(int((final > base).sum()), int((final != base).sum())).pvalue
        found = differences["final-base"][name]
        assert found.delta == pytest.approx((final - base).mean())
        assert found.lower < found.delta < found.upper
        described = comparison["differences"]["final-base"][name]
        assert (described["test"], described["prompts"]) == ("McNemar", 100)
        assert described["p_value"] == pytest.approx(raw[name], rel=0.1)
        assert described["prompts_needed"] == found.prompts_needed > 0
    smallest = min(raw, key=raw.get)
    assert differences["final-base"][smallest].p_value == pytest.approx(3 * raw[smallest], rel=0.1)


def test_only_questions_of_both_models_are_compared(tmp_path):
    scores = {"final": {("a", ""): [100.0] * 30}, "base": {("a", ""): [0.0] * 20}, "sft": {}}
    differences, comparison = run(tmp_path, [benchmark("a")], scores)
    assert comparison["differences"]["final-base"]["a"]["prompts"] == 20
    assert differences["final-base"]["a"].delta == 100.0
    assert differences["sft-base"] == {}


def test_ratings_are_compared_in_their_unit(tmp_path):
    generator = np.random.default_rng(2)
    base = generator.integers(1, 9, 80).astype(float)
    scores = {"base": {("a", ""): base}, "sft": {("a", ""): base}, "final": {("a", ""): base + 1}}
    rated = benchmark("a", Grader.RUBRIC, unit=Unit.RATING, aggregation=Aggregation.GROUP_MEANS)
    differences, comparison = run(tmp_path, [rated], scores)
    assert (differences["final-base"]["a"].delta, comparison["units"]) == (1.0, {"a": "Rating"})
    assert comparison["differences"]["final-base"]["a"]["test"] == "permutation"
    assert (differences["sft-base"]["a"].delta, differences["sft-base"]["a"].p_value) == (0.0, 1.0)


def test_the_length_controlled_win_rate_has_the_spread_of_the_preferences(tmp_path):
    generator = np.random.default_rng(3)
    scores = {
        model: {("a", ""): np.full(100, value), ("a", "winRate"): generator.uniform(0, 100, 100)}
        for model, value in (("base", 20.0), ("sft", 30.0), ("final", 40.0))
    }
    fields = {"aggregation": Aggregation.LENGTH_CONTROLLED, "metrics": ["lengthControlledWinRate", "winRate"]}
    differences, _ = run(tmp_path, [benchmark("a", Grader.ALPACA_EVAL, **fields)], scores)
    found = differences["final-base"]["a"]
    assert found.delta == 20.0
    assert 10 < found.upper - found.lower < 20


def test_averages_are_those_of_the_papers_groups(tmp_path):
    values = {"MMLUPro": 40.0, "MMLURedux": 60.0, "MMLU": 90.0, "GSM8K": 80.0, "own": 0.0}
    benchmarks = [benchmark(name.lower(), protocol=f"FuseEval/{name}") for name in values]
    scores = {"base": {(name.lower(), ""): [value, value] for name, value in values.items()}}
    _, comparison = run(tmp_path, benchmarks, scores, pairs=[])
    # MMLU and MMLU-Redux are one column of the table
    assert comparison["averages"] == {"base": {"General": 50.0, "Mathematics": 80.0, "All": 60.0}}
