"""The bootstrap over questions, stratified by group."""

from typing import Any

import numpy as np

from fusionrun_stages.uncertainty.scored import Design

RESAMPLES = 10_000
CHUNK_DRAWS = 2_000_000
"""Numbers that are drawn at once: they bound the memory."""
COUNTED_COST = 8
"""Time to draw the number of equal rows, in draws of one row (measured)."""


def resampled_sums(columns: Any, plan: Design, seed: int, resamples: int = RESAMPLES) -> Any:
    """Return the sums of each column over resampled questions, by group: shape (resamples, leaves, columns), float64.

    ``columns`` has shape (n, columns). Within each stratum, as many questions are drawn with replacement as it has.

    Notes
    -----
    The deviations from the observed sums are enlarged by sqrt(m / (m - 1)) for a stratum of m questions: without it,
    the spread of a bootstrap of few questions is too small. Source: Hesterberg, "What Teachers Should Know About the
    Bootstrap" (arXiv 1411.5279), narrowness bias. A stratum of one question has no spread.
    """
    generator = np.random.default_rng(seed)
    width = columns.shape[1]
    sums = np.zeros((resamples, len(plan.leaves), width))
    order = np.argsort(plan.strata, kind="stable")
    bounds = np.searchsorted(plan.strata[order], np.arange(plan.strata_count + 1))
    for stratum in range(plan.strata_count):
        rows = columns[order[bounds[stratum] : bounds[stratum + 1]]]
        observed = rows.sum(axis=0)
        drawn = _drawn_sums(rows, generator, resamples)
        if len(rows) > 1:
            drawn = observed + (drawn - observed) * np.sqrt(len(rows) / (len(rows) - 1))
        sums[:, plan.leaf_of_stratum[stratum]] += drawn
    return sums


def _drawn_sums(rows: Any, generator: Any, resamples: int) -> Any:
    """Return the sums of rows that are drawn with replacement, shape (resamples, columns).

    Equal rows are counted instead of drawn: the counts are multinomial. So the time depends on the number of different
    rows, which is 2 for scores that are right or wrong.
    """
    count = len(rows)
    kinds, numbers = np.unique(rows, axis=0, return_counts=True)
    result = np.empty((resamples, rows.shape[1]))
    are_counted = COUNTED_COST * len(kinds) < count
    chunk = max(1, CHUNK_DRAWS // (len(kinds) if are_counted else count))
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        if are_counted:
            result[start : start + size] = generator.multinomial(count, numbers / count, size) @ kinds
        else:
            drawn = generator.integers(0, count, (size, count), dtype=np.int32)
            for column in range(rows.shape[1]):
                result[start : start + size, column] = rows[:, column][drawn].sum(axis=1)
    return result
