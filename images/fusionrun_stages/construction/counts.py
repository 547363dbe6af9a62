"""Counts of the rows, pairs and dropped prompts of a construction. Pure, but for the manifest of ``prepare``."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from fusionrun.api.parameters import ConstructParameters
from fusionrun.api.result import dataset_count
from fusionrun_stages.construction.files import HELD_OUT, PAIR, SFT
from fusionrun_stages.prompts.counts import DROP_COUNTS
from fusionrun_stages.volume.atomic import read_json


def count(
    decided: pl.DataFrame, chosen: pl.DataFrame, parameters: ConstructParameters, names: Sequence[str]
) -> tuple[dict[str, int], dict[str, Any]]:
    """Return the counts of the result, and those of the manifest: by data set and by task.

    Parameters
    ----------
    decided, chosen
        The result of ``selection.select``.
    names
        The sources' names, sorted: ``source`` of ``chosen`` is the index.
    """
    kinds = Counter(chosen["kind"])
    counts = {"sft_rows": kinds[SFT], "pairs": kinds[PAIR], "held_out_pairs": kinds[HELD_OUT]}
    for kind, prefix in ((SFT, "sft"), (PAIR, "pairs")):
        by_source = Counter(chosen.filter(pl.col("kind") == kind)["source"])
        counts |= {f"{prefix}:{names[number]}": by_source[number] for number in sorted(by_source)}
    by_dataset = _count_by(chosen, "dataset", "kind")
    for dataset in sorted(parameters.tasks):
        rows = by_dataset.get(dataset, {})
        counts[dataset_count("sft", dataset)] = rows.get(SFT, 0)
        counts[dataset_count("pairs", dataset)] = rows.get(PAIR, 0) + rows.get(HELD_OUT, 0)
    prepared = read_json(Path(parameters.prepare_manifest)).get("counts", {})
    drops = Counter(decided["drop"].drop_nulls())
    for reason, name in DROP_COUNTS.items():
        drops[str(reason)] += prepared.get(name, 0)
    counts |= {f"drop:{reason}": drops[reason] for reason in sorted(drops) if drops[reason]}
    return counts, {
        "by_dataset": by_dataset,
        "drops_by_dataset": _count_by(decided, "dataset", "drop"),
        "no_pair_by_task": _count_by(decided, "task", "no_pair"),
    }


def _count_by(rows: pl.DataFrame, outer: str, inner: str) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for first, second, number in rows.drop_nulls(inner).group_by(outer, inner).len().sort(outer, inner).iter_rows():
        counts.setdefault(first, {})[second] = number
    return counts
