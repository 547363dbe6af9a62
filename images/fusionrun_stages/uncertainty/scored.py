"""The scores of questions, and how they become one score."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fusionrun.api.tasks.protocol import Aggregation

STRATUM_MIN = 5
"""Questions that a group must have to be resampled on its own, if the score is a mean over all questions."""


@dataclass(frozen=True)
class Scored:
    """The scores of n questions on a benchmark."""

    values: Any
    """Scores in the unit of the benchmark, shape (n,), float64."""
    weights: Any
    """Weights, shape (n,), float64. A question with weight 0 is not in the score."""
    groups: tuple[str, ...]
    """Group of each question, from the outer to the inner one: ``reasoning/zebra_puzzle``. Empty for none."""

    @classmethod
    def of(cls, rows: Iterable[tuple[float | None, float, str | None]]) -> "Scored":
        """Return the scores from value, weight and group of each question; a value of None gets weight 0."""
        listed = list(rows)
        return cls(
            np.array([0.0 if value is None else value for value, _, _ in listed], dtype=float),
            np.array([0.0 if value is None else weight for value, weight, _ in listed], dtype=float),
            tuple(group or "" for _, _, group in listed),
        )

    def __len__(self) -> int:
        return len(self.values)

    @property
    def counted(self) -> int:
        """Number of questions in the score."""
        return int(np.count_nonzero(self.weights))

    def is_binary(self, low: float, high: float) -> bool:
        """Return whether all counted scores are one of two values, with equal weights."""
        kept = self.weights != 0
        equal = np.ptp(self.weights[kept]) == 0 if kept.any() else True
        return bool(equal and np.isin(self.values[kept], (low, high)).all())


@dataclass(frozen=True)
class Design:
    """The groups of the questions of a benchmark, and their shares of the score."""

    strata: Any
    """Number of the stratum of each question, shape (n,): questions are resampled within their stratum."""
    leaf_of_stratum: Any
    """Number of the group whose mean the questions of a stratum enter, shape (strata,)."""
    leaves: tuple[str, ...]
    """Names of the groups whose means are averaged; one without a name if the score is a mean over all questions."""

    @property
    def strata_count(self) -> int:
        """Number of strata."""
        return len(self.leaf_of_stratum)


def design(groups: Sequence[str], aggregation: Aggregation) -> Design:
    """Return the groups of the questions and how they are resampled.

    For a mean over all questions, groups of fewer than ``STRATUM_MIN`` questions are one stratum together: a small
    group says little about the spread of its scores.
    """
    names = list(groups)
    if aggregation is Aggregation.GROUP_MEANS:
        leaves = sorted(set(names))
        numbers = {name: number for number, name in enumerate(leaves)}
        return Design(np.array([numbers[n] for n in names], dtype=int), np.arange(len(leaves)), tuple(leaves))
    counts: dict[str, int] = defaultdict(int)
    for name in names:
        counts[name] += 1
    large = sorted(name for name, count in counts.items() if count >= STRATUM_MIN)
    numbers = {name: number for number, name in enumerate(large)}
    others = len(large)
    strata = np.array([numbers.get(name, others) for name in names], dtype=int)
    count = others + 1 if (strata == others).any() else others
    return Design(strata, np.zeros(count, dtype=int), ("",))


def shares(leaves: Sequence[str]) -> Any:
    """Return the share of each group in the mean of means of nested groups, shape (leaves,), float64.

    The score is the mean of the outer groups, each of which is the mean of its inner groups. Questions that are in an
    outer group and in none of its inner ones are an inner group of their own.
    """
    result = np.zeros(len(leaves))
    paths = [(number, tuple(name.split("/"))) for number, name in enumerate(leaves)]
    _divide(paths, 0, 1.0, result)
    return result


def _divide(paths: list[tuple[int, tuple[str, ...]]], depth: int, share: float, result: Any) -> None:
    children: dict[str | None, list[tuple[int, tuple[str, ...]]]] = defaultdict(list)
    for number, path in paths:
        children[path[depth] if len(path) > depth else None].append((number, path))
    for name, child in children.items():
        part = share / len(children)
        if name is None or len(child) == 1:
            result[child[0][0]] = part
        else:
            _divide(child, depth + 1, part, result)


def weighted_mean(sums: Any, totals: Any, leaves: Sequence[str]) -> Any:
    """Return the score from the weighted sums and the weights of the groups, both of shape (…, leaves).

    Groups without weight are left out, and the others are averaged. The result is NaN if no group has weight.
    """
    present = np.asarray(totals) > 0
    means = np.divide(sums, totals, out=np.zeros_like(sums, dtype=float), where=present)
    if len(leaves) == 1:
        return np.where(present[..., 0], means[..., 0], np.nan)
    if present.all():
        return means @ shares(leaves)
    flat_means, flat_present = means.reshape(-1, len(leaves)), present.reshape(-1, len(leaves))
    scores = np.full(len(flat_means), np.nan)
    patterns, which = np.unique(flat_present, axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        if pattern.any():
            rows = which.reshape(-1) == number
            kept = [leaf for leaf, there in zip(leaves, pattern, strict=True) if there]
            scores[rows] = flat_means[rows][:, pattern] @ shares(kept)
    return scores.reshape(means.shape[:-1]) if means.ndim > 1 else scores[0]


def score(scored: Scored, aggregation: Aggregation) -> float | None:
    """Return the score of a benchmark; None if no question is in it."""
    plan = design(scored.groups, aggregation)
    if not plan.strata_count:
        return None
    leaf = plan.leaf_of_stratum[plan.strata]
    sums = np.bincount(leaf, scored.weights * scored.values, len(plan.leaves))
    totals = np.bincount(leaf, scored.weights, len(plan.leaves))
    value = float(weighted_mean(sums, totals, plan.leaves))
    return None if np.isnan(value) else value


def category_means(scored: Scored) -> dict[str, float]:
    """Return the weighted mean of each group, and of the groups within it, by name."""
    sums: dict[str, float] = defaultdict(float)
    totals: dict[str, float] = defaultdict(float)
    for value, weight, group in zip(scored.values, scored.weights, scored.groups, strict=True):
        parts = group.split("/") if group else []
        for depth in range(1, len(parts) + 1):
            name = "/".join(parts[:depth])
            sums[name] += weight * value
            totals[name] += weight
    return {name: float(sums[name] / total) for name, total in sorted(totals.items()) if total > 0}
