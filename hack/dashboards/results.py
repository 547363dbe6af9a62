"""The panels of benchmarks."""

from dashboards.annotations import RUN
from dashboards.panels import Builder, matrix, per


def result_panels() -> list[Builder]:
    """Return the tables of scores and differences. A row is a run and a benchmark."""
    scores = "Percent, or a rating from 1 to 10."
    return [
        matrix("Benchmark scores", _table("fusionrun_benchmark_score", "model"), "row", "column", 12, scores),
        matrix(
            "95 % intervals of the scores",
            _table("fusionrun_benchmark_score_bound", "model", "bound"),
            "row",
            "column",
            12,
            scores,
        ),
        matrix(
            "Differences of the models on the same prompts",
            _table("fusionrun_benchmark_delta", "model", "against"),
            "row",
            "column",
            12,
        ),
        matrix(
            "95 % intervals of the differences",
            _table("fusionrun_benchmark_delta_bound", "model", "against", "bound"),
            "row",
            "column",
            12,
        ),
    ]


def _table(family: str, *columns: str) -> str:
    row = ("namespace", "name", "benchmark")
    query = per(", ".join((*row, *columns)), family, RUN)
    for label, separator, parts in (("row", " / ", row), ("column", " ", columns)):
        names = ", ".join(f'"{part}"' for part in parts)
        query = f'label_join({query}, "{label}", "{separator}", {names})'
    return query
