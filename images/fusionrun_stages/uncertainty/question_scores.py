"""The columns of ``scores.parquet`` that comparisons need."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fusionrun_stages.uncertainty.scored import Scored
from fusionrun_stages.volume.paths import inside_volume

COLUMNS = ["prompt_id", "group", "score", "weight"]


@dataclass(frozen=True)
class Column:
    """The scores of a model by one metric of a benchmark, sorted by prompt."""

    prompt_ids: Any
    """Shape (n,), texts."""
    scored: Scored


def read_columns(path: Path, benchmark: str, metric: str) -> Column:
    """Read the scores of one benchmark by one metric; other rows are not kept in memory."""
    import pyarrow.parquet as pq

    filters = [("benchmark", "==", benchmark), ("metric", "==", metric)]
    table = pq.read_table(inside_volume(path), columns=COLUMNS, filters=filters).sort_by("prompt_id")
    prompt_ids, groups, scores, weights = (table.column(name).to_pylist() for name in COLUMNS)
    return Column(np.array(prompt_ids, dtype=str), Scored.of(zip(scores, weights, groups, strict=True)))


def aligned(first: Column, second: Column) -> tuple[Scored, Scored]:
    """Return the scores of two models on the questions that both have, in the same order."""
    _, left, right = np.intersect1d(first.prompt_ids, second.prompt_ids, assume_unique=True, return_indices=True)
    return _taken(first.scored, left), _taken(second.scored, right)


def _taken(scored: Scored, indexes: Any) -> Scored:
    groups = tuple(scored.groups[index] for index in indexes)
    return Scored(scored.values[indexes], scored.weights[indexes], groups)
