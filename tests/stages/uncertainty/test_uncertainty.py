"""Aggregation, intervals, paired tests and corrections: against closed forms, scipy and simulated evaluations."""

import numpy as np
import pytest
from scipy import stats

from fusionrun.api.power import prompts_needed
from fusionrun.api.tasks.protocol import Aggregation, Unit
from fusionrun_stages.uncertainty.corrections import holm
from fusionrun_stages.uncertainty.intervals import interval, normal, wilson
from fusionrun_stages.uncertainty.paired import Pair, compare
from fusionrun_stages.uncertainty.resampling import resampled_sums
from fusionrun_stages.uncertainty.scored import Scored, category_means, design, score, weighted_mean

MEAN, GROUPS = Aggregation.MEAN, Aggregation.GROUP_MEANS
PERCENT = Unit.PERCENT


def scored(values, weights=None, groups=None):
    values = list(values)
    weights = [1.0] * len(values) if weights is None else weights
    return Scored.of(zip(values, weights, groups or [None] * len(values), strict=True))


def tables(seed=0):
    """Return right and wrong responses of two models to the same 60 questions in 4 groups of different difficulty."""
    generator = np.random.default_rng(seed)
    difficulty = np.repeat([0.2, 0.4, 0.6, 0.8], 15)
    names = [f"g{n // 15}" for n in range(60)]
    first = 100.0 * (generator.random(60) < difficulty)
    return first, np.where(generator.random(60) < 0.7, first, 100.0 - first), names


NESTED = [(1, 1, "a/b"), (2, 1, "a/c"), (9, 1, "a/c"), (7, 1, "a"), (3, 1, "d"), (4, 1, "d")]


@pytest.mark.parametrize(
    ("rows", "aggregation", "expected"),
    [
        ([(0, 1, None), (100, 1, None), (50, 1, None)], MEAN, 50.0),
        ([(0, 3, None), (100, 1, None)], MEAN, 25.0),
        ([(0, 1, None), (None, 1, None)], MEAN, 0.0),
        ([(None, 1, None)], MEAN, None),
        ([], MEAN, None),
        (NESTED, MEAN, 26 / 6),
        (NESTED, GROUPS, ((1 + 5.5 + 7) / 3 + 3.5) / 2),
        ([(1, 1, "a/b/c"), (2, 1, "a/d"), (6, 1, "e")], GROUPS, (1.5 + 6) / 2),
        ([(1, 1, "a"), (None, 1, "b"), (5, 1, "c")], GROUPS, 3.0),  # a group without a score is not in the mean
    ],
)
def test_the_score_is_the_mean_of_questions_or_of_nested_groups(rows, aggregation, expected):
    assert score(Scored.of(rows), aggregation) == (None if expected is None else pytest.approx(expected))


def test_every_level_of_the_groups_has_a_mean():
    means = category_means(Scored.of(NESTED))
    assert means == pytest.approx({"a": 4.75, "a/b": 1.0, "a/c": 5.5, "d": 3.5})


@pytest.mark.parametrize(("right", "count"), [(0, 5), (5, 5), (37, 100), (13_000, 14_042), (1, 2)])
def test_the_interval_of_a_share_is_wilsons(right, count):
    found = wilson(right, count)
    expected = stats.binomtest(right, count).proportion_ci(method="wilson")
    assert (found.lower, found.upper) == pytest.approx((100 * expected.low, 100 * expected.high), abs=1e-5)
    values = [100.0] * right + [0.0] * (count - right)
    assert interval(scored(values), MEAN, PERCENT, 1) == found
    if right in (0, count):  # a bootstrap has no width
        assert interval(scored(values, groups=[f"g{n % 2}" for n in range(count)]), GROUPS, PERCENT, 1) == found


@pytest.mark.parametrize("aggregation", [MEAN, GROUPS])
def test_the_bootstrap_has_the_standard_error_of_a_stratified_mean(aggregation):
    generator = np.random.default_rng(3)
    sizes, spreads = [10, 20, 40], [5.0, 1.0, 20.0]
    values = np.concatenate([generator.normal(50, s, n) for n, s in zip(sizes, spreads, strict=True)])
    groups = [f"g{i}" for i, n in enumerate(sizes) for _ in range(n)]
    found = interval(scored(values, groups=groups), aggregation, PERCENT, 1)
    parts = np.split(values, [10, 30])
    shares = np.array(sizes) / 70 if aggregation is MEAN else np.full(3, 1 / 3)
    error = np.sqrt(sum(w**2 * p.var(ddof=1) / len(p) for w, p in zip(shares, parts, strict=True)))
    assert found.standard_error == pytest.approx(error, rel=0.03)
    assert (found.upper - found.lower) == pytest.approx(2 * 1.96 * error, rel=0.05)
    assert found == interval(scored(values, groups=groups), aggregation, PERCENT, 1)
    assert found != interval(scored(values, groups=groups), aggregation, PERCENT, 2)


def test_equal_questions_are_counted_with_the_distribution_of_the_draws():
    values = np.tile([0.0, 30.0, 100.0], 40)
    columns = np.column_stack((values, np.ones(120)))
    counted = resampled_sums(columns, design([""] * 120, MEAN), 1)[:, 0, 0]
    jittered = columns + np.random.default_rng(5).normal(0, 1e-9, (120, 2))
    drawn = resampled_sums(jittered, design([""] * 120, MEAN), 2)[:, 0, 0]
    assert counted.std() == pytest.approx(drawn.std(), rel=0.03)
    assert np.percentile(counted, [2.5, 97.5]) == pytest.approx(np.percentile(drawn, [2.5, 97.5]), rel=0.02)


@pytest.mark.parametrize(
    ("rows", "aggregation"),
    [([(50.0, 1, None)], MEAN), ([], MEAN), ([(1.0, 1, "a"), (2.0, 1, "a"), (3.0, 1, "b")], GROUPS)],
    ids=["one question", "no question", "a group with one question"],
)
def test_without_a_spread_there_is_no_interval(rows, aggregation):
    assert interval(Scored.of(rows), aggregation, Unit.RATING, 1) is None


def test_small_groups_are_resampled_together():
    groups = ["a"] * 10 + ["b"] * 2 + ["c"]
    assert design(groups, MEAN).strata.tolist() == [0] * 10 + [1] * 3
    found = interval(scored(np.arange(13.0), groups=groups), MEAN, PERCENT, 1)
    assert found.lower < 6 < found.upper


def test_intervals_are_within_the_range_of_the_scores():
    found = interval(scored([9.5, 10, 10, 10, 9]), MEAN, Unit.RATING, 1)
    assert found.upper <= 10
    assert interval(scored([-1.0, 1.0, 10.0, 3.0]), MEAN, Unit.RATING, 1).lower < 1  # AlignBench averages -1 in
    assert normal(99.0, 2.0, PERCENT).upper == 100


def test_a_group_without_weight_in_a_resample_is_left_out():
    sums, totals = np.array([[2.0, 0.0], [4.0, 3.0]]), np.array([[1.0, 0.0], [1.0, 1.0]])
    assert weighted_mean(sums, totals, ("a", "b")).tolist() == [2.0, 3.5]


def test_holm_corrects_for_the_number_of_tests():
    # Holm (1979): sorted p-values times the number of tests that are left, never decreasing.
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}) == pytest.approx(
        {"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02}
    )
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}


def test_right_and_wrong_responses_are_compared_by_mcnemars_exact_test():
    first, second, groups = tables()
    found = compare(Pair(scored(first, groups=groups), scored(second, groups=groups)), MEAN, PERCENT, 1)
    only_first, only_second = int((first > second).sum()), int((second > first).sum())
    assert found.test == "McNemar"
    assert found.p_value == pytest.approx(stats.binomtest(only_first, only_first + only_second).pvalue)
    assert found.delta == pytest.approx((first - second).mean())
    # Bonett and Price (2012), written out
    shares = (only_first + 1) / 62, (only_second + 1) / 62
    centre = shares[0] - shares[1]
    half = 1.959964 * ((shares[0] + shares[1] - centre**2) / 62) ** 0.5
    assert (found.lower, found.upper) == pytest.approx((100 * (centre - half), 100 * (centre + half)))


@pytest.mark.parametrize("aggregation", [MEAN, GROUPS])
def test_models_with_the_same_verdicts_have_an_interval_with_a_width(aggregation):
    same = scored([100.0, 0.0] * 10, groups=["a", "b"] * 10)
    found = compare(Pair(same, same), aggregation, PERCENT, 1)
    assert (found.delta, found.p_value, found.prompts_needed) == (0.0, 1.0, None)
    assert found.lower < 0 < found.upper


@pytest.mark.parametrize("aggregation", [MEAN, GROUPS])
def test_other_scores_are_compared_by_permutation_and_bootstrap(aggregation):
    generator = np.random.default_rng(7)
    first = generator.uniform(20, 80, 200)
    second = first - 0.3 + generator.normal(0, 5, 200)
    groups = [f"g{n % 4}" for n in range(200)]
    pair = Pair(scored(first, groups=groups), scored(second, groups=groups))
    found, test = compare(pair, aggregation, PERCENT, 1), stats.ttest_rel(first, second)
    assert found.test == "permutation"
    assert found.p_value == pytest.approx(test.pvalue, rel=0.1)
    bounds = test.confidence_interval()
    assert (found.lower, found.upper) == pytest.approx((bounds.low, bounds.high), abs=0.12)
    assert found.standard_error == pytest.approx((first - second).std(ddof=1) / 200**0.5, rel=0.05)


def test_weighted_scores_are_compared_as_they_are_shown():
    """In Arena-Hard the weights of a question differ between the models."""
    generator = np.random.default_rng(11)
    values, weights = generator.choice([0.0, 50.0, 100.0], (2, 80)), generator.choice([0.0, 2.0, 4.0, 6.0], (2, 80))
    first, second = (scored(v, w) for v, w in zip(values, weights, strict=True))
    found = compare(Pair(first, second), MEAN, PERCENT, 1)
    assert found.delta == pytest.approx(score(first, MEAN) - score(second, MEAN))
    assert found.lower < found.delta < found.upper


def test_the_spread_can_come_from_other_scores_of_the_same_questions():
    """Values of the length-controlled win rate are predictions, which hardly differ between questions."""
    generator = np.random.default_rng(13)
    raw = Pair(*(scored(generator.uniform(0, 100, 100)) for _ in range(2)))
    predicted = Pair(scored(np.full(100, 60.0)), scored(np.full(100, 50.0)))
    found, own = compare(predicted, MEAN, PERCENT, 1, raw), compare(raw, MEAN, PERCENT, 1)
    assert found.delta == 10.0
    assert found.upper - found.lower == pytest.approx(own.upper - own.lower)
    assert found.lower < 10 < found.upper


def test_models_without_common_scores_are_not_compared():
    assert compare(Pair(scored([]), scored([])), MEAN, PERCENT, 1) is None
    assert compare(Pair(scored([None]), scored([1.0])), MEAN, PERCENT, 1) is None
    alone = compare(Pair(scored([1.5]), scored([1.0])), MEAN, PERCENT, 1)
    assert (alone.delta, alone.lower, alone.p_value) == (0.5, None, None)


def test_intervals_and_tests_hold_what_they_promise():
    """In simulated evaluations, about 95 % of the intervals contain the true difference of the models."""
    generator = np.random.default_rng(17)
    covered, rejected, runs = 0, 0, 300
    for seed in range(runs):
        first = generator.beta(0.6, 0.4, 40) * 100
        second = np.clip(first + generator.normal(0, 15, 40), 0, 100)
        swap = generator.random(40) < 0.5  # so that the true difference is 0
        first, second = np.where(swap, second, first), np.where(swap, first, second)
        found = compare(Pair(scored(first), scored(second)), MEAN, PERCENT, seed, resamples=500)
        covered += found.lower <= 0 <= found.upper
        rejected += found.p_value < 0.05
    assert 0.91 < covered / runs < 0.99
    assert 0.01 < rejected / runs < 0.09


def test_the_prompts_needed_give_the_power():
    """With as many prompts, a paired z-test finds the difference in 4 of 5 evaluations."""
    spread, difference = 30.0, 4.0
    needed = prompts_needed(spread / 100**0.5, 100, difference)
    assert needed == 442
    error = spread / needed**0.5
    assert 1 - stats.norm.cdf(1.959964 - difference / error) == pytest.approx(0.8, abs=0.001)
    assert prompts_needed(1.0, 100, 0.0) is None
    assert prompts_needed(0.0, 100, 5.0) == 2
