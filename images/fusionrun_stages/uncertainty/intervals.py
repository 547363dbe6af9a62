"""The 95 % interval of a score."""

import math
from dataclasses import dataclass

import numpy as np

from fusionrun.api.power import QUANTILE
from fusionrun.api.tasks.protocol import Aggregation, Unit
from fusionrun_stages.uncertainty.resampling import RESAMPLES, resampled_sums
from fusionrun_stages.uncertainty.scored import Scored, design, weighted_mean

RANGES = {Unit.PERCENT: (0.0, 100.0), Unit.RATING: (1.0, 10.0)}
"""Lowest and highest score by unit."""
PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class Interval:
    """A 95 % interval, in the unit of the score."""

    lower: float
    upper: float
    standard_error: float
    method: str


def interval(
    scored: Scored, aggregation: Aggregation, unit: Unit, seed: int, resamples: int = RESAMPLES
) -> Interval | None:
    """Return the interval of a score: Wilson's for a share of right responses, otherwise a bootstrap over questions.

    None if fewer than two questions are in the score, or if a group whose mean enters the score has only one: its
    spread is unknown.
    """
    low, high = RANGES[unit]
    if scored.counted < 2:  # noqa: PLR2004 - one question has no spread
        return None
    values = scored.values[scored.weights != 0]
    # If all responses are right, or all wrong, a bootstrap has no width.
    counted = aggregation is Aggregation.MEAN or np.ptp(values) == 0
    if counted and unit is Unit.PERCENT and scored.is_binary(low, high):
        return wilson(int(np.count_nonzero(values == high)), scored.counted)
    plan = design(scored.groups, aggregation)
    if aggregation is Aggregation.GROUP_MEANS and (np.bincount(plan.strata, scored.weights != 0) == 1).any():
        return None
    columns = np.column_stack((scored.weights * scored.values, scored.weights))
    sums = resampled_sums(columns, plan, seed, resamples)
    means = weighted_mean(sums[..., 0], sums[..., 1], plan.leaves)
    means = means[~np.isnan(means)]
    low, high = min(low, scored.values.min()), max(high, scored.values.max())  # AlignBench averages -1 in
    lower, upper = np.clip(np.percentile(means, PERCENTILES), low, high)
    return Interval(float(lower), float(upper), float(means.std(ddof=1)), "bootstrap")


def wilson(right: int, count: int) -> Interval:
    """Return Wilson's interval of the share of right responses, in percent, and the binomial standard error.

    Notes
    -----
    Source: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 22 (1927).
    """
    share, square = right / count, QUANTILE**2
    centre = (share + square / (2 * count)) / (1 + square / count)
    half = QUANTILE / (1 + square / count) * math.sqrt(share * (1 - share) / count + square / (4 * count**2))
    error = math.sqrt(share * (1 - share) / count)
    lower, upper = max(0.0, centre - half), min(1.0, centre + half)
    return Interval(100 * lower, 100 * upper, 100 * error, "Wilson")


def normal(score: float, standard_error: float, unit: Unit) -> Interval:
    """Return the interval of a score by its standard error and the normal distribution."""
    low, high = RANGES[unit]
    half = QUANTILE * standard_error
    return Interval(max(low, score - half), min(high, score + half), standard_error, "normal")
