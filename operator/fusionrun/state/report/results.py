"""From the last words of stages to the numbers of the run: data set, scores, the gate."""

from collections.abc import Iterable, Sequence

from fusionrun.api.data import Dataset, Evaluation, GateBaseline
from fusionrun.api.result import StageResult, dataset_count
from fusionrun.api.sizes import PUBLISHED, Sizes, size_warning
from fusionrun.api.spec import FusionRunSpec
from fusionrun.api.status import BenchmarkResult, DatasetRows, DatasetSummary, SourceRows


def total(results: Iterable[StageResult], key: str) -> int:
    """Sum one count over a stage's pods."""
    return sum(r.counts.get(key, 0) for r in results)


def peak_memory(results: Iterable[StageResult]) -> int | None:
    """Return the largest resident memory of one pod, in bytes."""
    return max((r.counts["peak_memory_bytes"] for r in results if "peak_memory_bytes" in r.counts), default=None)


def dataset_summary(results: Sequence[StageResult], spec: FusionRunSpec) -> DatasetSummary | None:
    """Read what ``construct`` made; None when its result was lost."""
    if not results or "sft_rows" not in results[0].counts:
        return None
    counts, numbers = results[0].counts, results[0].numbers
    return DatasetSummary(
        sft_rows=counts["sft_rows"],
        pairs=counts.get("pairs", 0),
        held_out_pairs=counts.get("held_out_pairs", 0),
        truncated_share=numbers.get("truncated_share"),
        mean_margin=numbers.get("mean_margin"),
        by_source=[
            SourceRows(
                source=s.name,
                sft_rows=counts.get(f"sft:{s.name}", 0),
                pairs=counts.get(f"pairs:{s.name}", 0),
                win_rate=numbers.get(f"win:{s.name}"),
            )
            for s in spec.sources
        ],
        # An artifact of an earlier version has no counts of single data sets.
        by_dataset=[
            _dataset_rows(d, Sizes(*(counts.get(dataset_count(kind, d.name), 0) for kind in ("sft", "pairs"))))
            for d in spec.datasets
            if dataset_count("sft", d.name) in counts
        ],
        drops={k.removeprefix("drop:"): n for k, n in sorted(counts.items()) if k.startswith("drop:")},
    )


def _dataset_rows(dataset: Dataset, found: Sizes) -> DatasetRows:
    published = PUBLISHED[dataset.preset] if dataset.preset else None
    return DatasetRows(
        name=dataset.name,
        sft_rows=found.sft_rows,
        pairs=found.pairs,
        recipe_sft_rows=published.sft_rows if published else None,
        recipe_pairs=published.pairs if published else None,
        warning=size_warning(found, published) if published else None,
    )


def with_scores(
    previous: Sequence[BenchmarkResult], evaluation: Evaluation, model: str, results: Sequence[StageResult]
) -> list[BenchmarkResult]:
    """Return the results with one model's scores filled in, from the words of ``evaluate/MODEL``."""
    numbers = results[0].numbers if results else {}
    known = {r.benchmark: r for r in previous}
    updated = []
    for benchmark in evaluation.benchmarks:
        row = known.get(benchmark.name, BenchmarkResult(benchmark=benchmark.name))
        if benchmark.name in numbers:
            row = row.model_copy(update={model: round(numbers[benchmark.name], 2)})
        if row.base is not None and row.final is not None:
            row = row.model_copy(update={"delta": round(row.final - row.base, 2)})
        updated.append(row)
    return updated


def by_model(rows: Iterable[BenchmarkResult]) -> dict[str, dict[str, float]]:
    """Return the scores by benchmark, then by model, for the published card."""
    return {
        r.benchmark: {m: v for m, v in (("base", r.base), ("sft", r.sft), ("final", r.final)) if v is not None}
        for r in rows
    }


def gate_failures(evaluation: Evaluation, results: Sequence[BenchmarkResult]) -> list[str]:
    """Name every gate that the final model did not pass, with the numbers."""
    rows = {r.benchmark: r for r in results}
    failures = []
    for gate in evaluation.gate:
        row = rows.get(gate.benchmark)
        if row is None:
            failures.append(f"{gate.benchmark}: no score")
            continue
        baseline = row.base if gate.against is GateBaseline.BASE else row.sft
        if row.final is None or baseline is None:
            failures.append(f"{gate.benchmark}: no score")
        elif row.final - baseline < gate.min_delta:
            failures.append(
                f"{gate.benchmark}: {row.final:g} against {gate.against.value} {baseline:g}: "
                f"less than minDelta {gate.min_delta:g}"
            )
    return failures


def rate(results: Iterable[StageResult]) -> float | None:
    """Return the tokens per second of a stage's pods; None when they did not say."""
    known = [r.numbers["tokens_per_second"] for r in results if "tokens_per_second" in r.numbers]
    return round(max(known), 1) if known else None
