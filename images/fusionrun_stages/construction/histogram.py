"""Histograms of integers with an unknown range, in bounded memory. Pure.

A bin is ``[n * width, (n + 1) * width)``. The width is the smallest power of two with which all values fit into
``BINS`` bins. It depends only on the minimum and maximum, so the order of the values does not change the result.
"""

from collections import Counter
from dataclasses import dataclass, field

import polars as pl

BINS = 48
"""Maximum number of bins: what fits into a plot of a phone's width."""

LENGTHS = [0, 1, *(edge for power in range(1, 24) for edge in (2**power, 3 * 2 ** (power - 1)))]
"""Lower edges of the bins for text lengths in characters, half an octave each: lengths have a long tail."""


@dataclass
class Histogram:
    """Counts of integers in bins of equal width."""

    width: int = 1
    bins: Counter[int] = field(default_factory=Counter)
    """By bin number."""
    total: int = 0
    """Sum of the values."""

    @property
    def count(self) -> int:
        """Number of values."""
        return self.bins.total()

    def add(self, values: pl.Series) -> None:
        """Add a series of integers."""
        values = values.drop_nulls()
        if not values.len():
            return
        least, greatest = int(values.min()), int(values.max())
        edges = [number * self.width for number in self.bins]
        self.coarsen(_width(min([least, *edges]), max([greatest, *edges]), self.width))
        counted = (values // self.width).alias("bin").value_counts(name="count")
        for number, count in counted.iter_rows():
            self.bins[number] += count
        self.total += int(values.sum())

    def coarsen(self, width: int) -> None:
        """Widen the bins to ``width``, which is the current width times a power of two."""
        merged: Counter[int] = Counter()
        for number, count in self.bins.items():
            merged[number * self.width // width] += count
        self.bins, self.width = merged, width

    def document(self) -> dict[str, object]:
        """Return ``least`` (the first bin's lower edge), ``width``, ``counts`` (per bin) and ``mean``."""
        if not self.bins:
            return {"least": 0, "width": self.width, "counts": [], "mean": None}
        first, last = min(self.bins), max(self.bins)
        return {
            "least": first * self.width,
            "width": self.width,
            "counts": [self.bins[number] for number in range(first, last + 1)],
            "mean": self.total / self.count,
        }


def _width(least: int, greatest: int, width: int) -> int:
    while greatest // width - least // width >= BINS:
        width *= 2
    return width


def share_bins(histograms: list[Histogram]) -> None:
    """Give the histograms of one plot the same width."""
    filled = [h for h in histograms if h.bins]
    if filled:
        edges = [number * h.width for h in filled for number in h.bins]
        width = _width(min(edges), max(edges), max(h.width for h in filled))
        for histogram in histograms:
            histogram.coarsen(width)


@dataclass
class Lengths:
    """Counts of texts by length in characters."""

    bins: Counter[int] = field(default_factory=Counter)
    """By the index of the bin in ``LENGTHS``."""
    total: int = 0
    longest: int = 0

    def add(self, texts: pl.Series) -> None:
        """Add a series of texts."""
        lengths = texts.drop_nulls().str.len_chars().cast(pl.Int64)
        if not lengths.len():
            return
        edges = pl.Series(LENGTHS, dtype=pl.Int64)
        numbers = edges.search_sorted(lengths, side="right").cast(pl.Int64) - 1
        for number, count in numbers.alias("bin").value_counts(name="count").iter_rows():
            self.bins[number] += count
        self.total += int(lengths.sum())
        self.longest = max(self.longest, int(lengths.max()))

    def document(self) -> dict[str, object]:
        """Return ``edges`` (one more than ``counts``), ``counts``, ``mean`` and ``longest``."""
        if not self.bins:
            return {"edges": [], "counts": [], "mean": None, "longest": 0}
        first, last = min(self.bins), max(self.bins)
        edges = [*LENGTHS, 2**24][first : last + 2]
        return {
            "edges": edges,
            "counts": [self.bins[number] for number in range(first, last + 1)],
            "mean": self.total / self.bins.total(),
            "longest": self.longest,
        }
