"""Counts of the rows, pairs and dropped prompts of a construction. Pure."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import polars as pl

from fusionrun.api.results.values import Constructed, DatasetCounts, Prepared, SourceCounts
from fusionrun_stages.construction.files import HELD_OUT, PAIR, SFT


def count(
    decided: pl.DataFrame, chosen: pl.DataFrame, datasets: Sequence[str], sources: Sequence[str], prepared: Prepared
) -> tuple[Constructed, dict[str, Any]]:
    """Return the counts of the result, and those by data set and by task for the manifest.

    ``decided`` and ``chosen`` are the result of ``selection.select``; ``chosen.source`` is an index of ``sources``, the
    sorted names. ``prepared`` has the prompts that ``prepare`` dropped.
    """
    kinds = Counter(chosen["kind"])
    by_source = Counter(zip(chosen["kind"], chosen["source"], strict=True))
    by_dataset = _count_by(chosen, "dataset", "kind")
    drops = Counter(decided["drop"].drop_nulls()) + Counter({str(reason): n for reason, n in prepared.drops.items()})
    made = Constructed(
        sft_rows=kinds[SFT],
        pairs=kinds[PAIR],
        held_out_pairs=kinds[HELD_OUT],
        by_source={
            name: SourceCounts(sft_rows=by_source[SFT, number], pairs=by_source[PAIR, number])
            for number, name in enumerate(sources)
        },
        by_dataset={
            name: DatasetCounts(sft_rows=rows.get(SFT, 0), pairs=rows.get(PAIR, 0) + rows.get(HELD_OUT, 0))
            for name in sorted(datasets)
            for rows in [by_dataset.get(name, {})]
        },
        drops=dict(sorted(drops.items())),
    )
    return made, {
        "by_dataset": by_dataset,
        "drops_by_dataset": _count_by(decided, "dataset", "drop"),
        "no_pair_by_task": _count_by(decided, "task", "no_pair"),
    }


def _count_by(rows: pl.DataFrame, outer: str, inner: str) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for first, second, number in rows.drop_nulls(inner).group_by(outer, inner).len().sort(outer, inner).iter_rows():
        counts.setdefault(first, {})[second] = number
    return counts
