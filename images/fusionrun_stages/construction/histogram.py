"""Histograms of integers whose range nobody knows beforehand, in bounded memory. Pure.

A bin is ``[n * width, (n + 1) * width)``. The width is the least power of two at which all values seen fit into
``BINS`` bins. It depends on the least and the greatest value alone, so no order of reading changes the result.
"""

from collections import Counter
from dataclasses import dataclass, field

import polars as pl

BINS = 48
"""Most bins of a histogram: as many as a plot of a phone's width can show."""

LENGTHS = [0, 1, *(edge for power in range(1, 24) for edge in (2**power, 3 * 2 ** (power - 1)))]
"""Lower edges of the bins of a text's length in characters, half an octave each: lengths have a long tail."""


@dataclass
class Histogram:
    """Counts of integers in bins of equal width."""

    width: int = 1
    bins: Counter[int] = field(default_factory=Counter)
    """By the bin's number."""
    total: int = 0
    """Sum of the values."""

    @property
    def count(self) -> int:
        """How many values there are."""
        return self.bins.total()

    def add(self, values: pl.Series) -> None:
        """Count a series of integers."""
        values = values.drop_nulls()
        if not values.len():
            return
        least, greatest = int(values.min()), int(values.max())
        known = [edge * self.width for edge in self.bins]
        self.coarsen(_width(min([least, *known]), max([greatest, *known]), self.width))
        counted = (values // self.width).alias("bin").value_counts(name="count")
        for number, count in counted.iter_rows():
            self.bins[number] += count
        self.total += int(values.sum())

    def coarsen(self, width: int) -> None:
        """Widen the bins to ``width``, a power of two times the width so far."""
        merged: Counter[int] = Counter()
        for number, count in self.bins.items():
            merged[number * self.width // width] += count
        self.bins, self.width = merged, width

    def document(self) -> dict[str, object]:
        """Return ``least`` (the first bin's lower edge), ``width``, ``counts`` (of every bin) and ``mean``."""
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
    """Give histograms that are compared one width, at which all of them together fit."""
    filled = [h for h in histograms if h.bins]
    if filled:
        edges = [number * h.width for h in filled for number in h.bins]
        width = _width(min(edges), max(edges), max(h.width for h in filled))
        for histogram in histograms:
            histogram.coarsen(width)


@dataclass
class Lengths:
    """Counts of texts by their length in characters."""

    bins: Counter[int] = field(default_factory=Counter)
    """By the number of the bin in ``LENGTHS``."""
    total: int = 0
    longest: int = 0

    def add(self, texts: pl.Series) -> None:
        """Count a series of texts."""
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
        """Return ``edges`` (one more than there are counts), ``counts``, ``mean`` and ``longest``."""
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
