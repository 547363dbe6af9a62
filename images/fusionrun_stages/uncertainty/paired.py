"""The difference of two models on the same questions."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from fusionrun.api.power import QUANTILE, prompts_needed
from fusionrun.api.tasks.protocol import Aggregation, Unit
from fusionrun_stages.uncertainty.intervals import PERCENTILES, RANGES
from fusionrun_stages.uncertainty.resampling import CHUNK_DRAWS, RESAMPLES, resampled_sums
from fusionrun_stages.uncertainty.scored import Design, Scored, design, score, weighted_mean


@dataclass(frozen=True)
class Paired:
    """The difference of two models on a benchmark: the first less the second, in the unit of the benchmark."""

    delta: float
    prompts: int
    """Questions that both models answered."""
    lower: float | None = None
    upper: float | None = None
    """95 % interval of the difference."""
    standard_error: float | None = None
    p_value: float | None = None
    """Of a test of no difference, two-sided, not corrected."""
    test: str = ""
    prompts_needed: int | None = None


@dataclass(frozen=True)
class Pair:
    """The scores of two models on the same n questions, in the same order."""

    first: Scored
    second: Scored

    def columns(self) -> Any:
        """Return weighted score and weight of the first model, then of the second one, shape (n, 4)."""
        first, second = self.first, self.second
        return np.column_stack((
            first.weights * first.values, first.weights, second.weights * second.values, second.weights,
        ))  # fmt: skip

    def delta(self, aggregation: Aggregation) -> float | None:
        """Return the difference of the scores; None if one model has none."""
        first, second = score(self.first, aggregation), score(self.second, aggregation)
        return None if first is None or second is None else first - second


def compare(
    pair: Pair,
    aggregation: Aggregation,
    unit: Unit,
    seed: int,
    spread: Pair | None = None,
    resamples: int = RESAMPLES,
) -> Paired | None:
    """Return the difference of two models, its interval and a test; None if one of them has no score.

    Scores that are right or wrong, and whose mean is the score: exact McNemar test and adjusted Wald interval. Others:
    permutation test and bootstrap of the questions, stratified by group. ``spread`` has other scores of the same
    questions, from which interval and test are computed, around the difference of ``pair``.
    """
    delta, count = pair.delta(aggregation), len(pair.first)
    if delta is None:
        return None
    both = (pair.first.weights != 0) & (pair.second.weights != 0)
    if both.sum() < 2:  # noqa: PLR2004 - one question has no spread
        return Paired(delta, count)
    # If no question is discordant, a bootstrap has no width.
    counted = aggregation is Aggregation.MEAN or not (pair.first.values != pair.second.values).any()
    if spread is None and counted and both.all() and _is_binary(pair, unit):
        return _binary(pair, RANGES[unit][1], delta)
    source = spread or pair
    kind = Aggregation.MEAN if spread else aggregation
    centre = source.delta(kind)
    plan = design(source.first.groups, kind)
    if centre is None or (kind is Aggregation.GROUP_MEANS and (np.bincount(plan.strata, both) == 1).any()):
        return Paired(delta, count)
    columns = source.columns()
    draws = _deltas(resampled_sums(columns, plan, seed, resamples), plan) - centre + delta
    draws = draws[~np.isnan(draws)]
    lower, upper = np.percentile(draws, PERCENTILES)
    error = float(draws.std(ddof=1))
    null = _swapped_deltas(columns, plan, seed, resamples)
    # A tie counts: the last digits of equal sums depend on their order.
    extreme = int((np.abs(null) >= abs(delta) * (1 - 1e-9) - 1e-9).sum())
    return Paired(
        delta,
        count,
        float(lower),
        float(upper),
        error,
        (extreme + 1) / (len(null) + 1),
        "permutation",
        prompts_needed(error, count, delta),
    )


def _is_binary(pair: Pair, unit: Unit) -> bool:
    low, high = RANGES[unit]
    return unit is Unit.PERCENT and all(one.is_binary(low, high) for one in (pair.first, pair.second))


def _binary(pair: Pair, right: float, delta: float) -> Paired:
    """Compare two models whose responses are right or wrong.

    Notes
    -----
    Test: McNemar, exact: the discordant questions are binomial with probability 0.5. Interval: Bonett and Price,
    "Adjusted Wald Confidence Interval for a Difference of Binomial Proportions Based on Paired Data", Journal of
    Educational and Behavioral Statistics 37 (2012): it has a width even if no question is discordant.
    """
    from scipy.stats import binom

    first, second = pair.first.values == right, pair.second.values == right
    count = len(first)
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    discordant = only_first + only_second
    tail = 2 * binom.cdf(min(only_first, only_second), discordant, 0.5) if discordant else 1.0
    shares = (only_first + 1) / (count + 2), (only_second + 1) / (count + 2)
    centre = shares[0] - shares[1]
    error = math.sqrt((sum(shares) - centre**2) / (count + 2))
    half = QUANTILE * error
    return Paired(
        delta,
        count,
        100 * max(-1.0, centre - half),
        100 * min(1.0, centre + half),
        100 * error,
        float(min(1.0, tail)),
        "McNemar",
        prompts_needed(100 * error, count, delta),
    )


def _deltas(sums: Any, plan: Design) -> Any:
    """Return the differences of the scores, shape (resamples,), from sums of shape (resamples, leaves, 4)."""
    first = weighted_mean(sums[..., 0], sums[..., 1], plan.leaves)
    return first - weighted_mean(sums[..., 2], sums[..., 3], plan.leaves)


def _swapped_deltas(columns: Any, plan: Design, seed: int, resamples: int) -> Any:
    """Return the differences after the models are swapped in random questions, shape (resamples,).

    If the models do not differ, each question could as well have the scores of the other model. Of equal questions of a
    group, the number of the swapped ones is drawn.
    """
    generator = np.random.default_rng([seed, 1])
    leaf = plan.leaf_of_stratum[plan.strata]
    observed = np.stack([np.bincount(leaf, column, len(plan.leaves)) for column in columns.T], axis=1)
    change = columns[:, [2, 3]] - columns[:, [0, 1]]
    moved = (change != 0).any(axis=1)
    kinds, counts = np.unique(np.column_stack((leaf, change))[moved], axis=0, return_counts=True)
    kind_leaf, kind_change = kinds[:, 0].astype(int), kinds[:, 1:]
    deltas = np.empty(resamples)
    chunk = max(1, CHUNK_DRAWS // max(1, len(kinds)))
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        swapped = _swaps(generator, counts, size)
        sums = np.repeat(observed[None], size, axis=0)
        for number in range(len(plan.leaves)):
            mine = kind_leaf == number
            shift = swapped[:, mine] @ kind_change[mine]
            sums[:, number, 0:2] += shift
            sums[:, number, 2:4] -= shift
        deltas[start : start + size] = _deltas(sums, plan)
    return deltas[~np.isnan(deltas)]


def _swaps(generator: Any, counts: Any, size: int) -> Any:
    """Return how many questions of each kind are swapped, shape (size, kinds), float64."""
    if (counts == 1).all():
        return generator.integers(0, 2, (size, len(counts)), dtype=np.int8).astype(np.float64)
    return generator.binomial(counts, 0.5, (size, len(counts))).astype(np.float64)
