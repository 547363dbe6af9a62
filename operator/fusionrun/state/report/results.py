"""The numbers of a run from the results of its pods: data set, scores and gate; and of a stage, for its status."""

from collections.abc import Iterable, Sequence

from fusionrun.api.data import Dataset, Evaluation, GateBaseline
from fusionrun.api.result import StageResult
from fusionrun.api.sizes import PUBLISHED, Sizes, size_warning
from fusionrun.api.spec import FusionRunSpec
from fusionrun.api.status import BenchmarkResult, DatasetRows, DatasetSummary, SourceRows
from fusionrun.api.values import Constructed, DatasetCounts, Evaluated, Generated, Promoted, SourceCounts, Trained


def peak_memory(results: Iterable[StageResult]) -> int | None:
    """Return the largest resident memory of one pod, in bytes."""
    return max((r.peak_memory_bytes for r in results if r.peak_memory_bytes is not None), default=None)


def cost_micro(results: Iterable[StageResult]) -> int | None:
    """Return the cost of a stage in millionths; None if it has none."""
    return sum(r.values.cost_micro or 0 for r in results if isinstance(r.values, Generated)) or None


def tokens_per_second(results: Iterable[StageResult]) -> float | None:
    """Return the tokens per second of a stage's fastest pod."""
    values = [r.values for r in results if isinstance(r.values, Generated)]
    return max((round(v.tokens_per_second, 1) for v in values if v.tokens_per_second is not None), default=None)


def last_loss(results: Sequence[StageResult]) -> float | None:
    """Return the loss at the end of a training."""
    made = results[0].values if results else None
    return _rounded(made.last_loss) if isinstance(made, Trained) else None


def reward_accuracy(results: Sequence[StageResult]) -> float | None:
    """Return the reward accuracy at the end of DPO, or of the chosen checkpoint on the held-out pairs."""
    made = results[0].values if results else None
    if isinstance(made, Promoted):
        return _rounded(made.held_out_accuracy)
    return _rounded(made.last_reward_accuracy) if isinstance(made, Trained) else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def dataset_summary(results: Sequence[StageResult], spec: FusionRunSpec) -> DatasetSummary | None:
    """Return the status of what ``construct`` made; None if its result was lost."""
    made = results[0].values if results else None
    if not isinstance(made, Constructed):
        return None
    by_dataset = made.by_dataset or {}
    by_source = {s.name: made.by_source.get(s.name, SourceCounts()) for s in spec.sources}
    return DatasetSummary(
        sft_rows=made.sft_rows,
        pairs=made.pairs,
        held_out_pairs=made.held_out_pairs,
        truncated_share=made.truncated_share,
        mean_margin=made.mean_margin,
        by_source=[SourceRows(source=name, **counts.model_dump(by_alias=False)) for name, counts in by_source.items()],
        by_dataset=[_dataset_rows(d, by_dataset[d.name]) for d in spec.datasets if d.name in by_dataset],
        drops=dict(sorted(made.drops.items())),
    )


def _dataset_rows(dataset: Dataset, counts: DatasetCounts) -> DatasetRows:
    published = PUBLISHED[dataset.preset] if dataset.preset else None
    return DatasetRows(
        name=dataset.name,
        sft_rows=counts.sft_rows,
        pairs=counts.pairs,
        recipe_sft_rows=published.sft_rows if published else None,
        recipe_pairs=published.pairs if published else None,
        warning=size_warning(Sizes(counts.sft_rows, counts.pairs), published) if published else None,
    )


def with_scores(
    previous: Sequence[BenchmarkResult], evaluation: Evaluation, model: str, results: Sequence[StageResult]
) -> list[BenchmarkResult]:
    """Return the benchmark results with the scores of one model, from the result of ``evaluate/MODEL``."""
    evaluated = results[0].values if results else None
    scores = evaluated.scores if isinstance(evaluated, Evaluated) else {}
    known = {r.benchmark: r for r in previous}
    updated = []
    for benchmark in evaluation.benchmarks:
        row = known.get(benchmark.name, BenchmarkResult(benchmark=benchmark.name))
        if benchmark.name in scores:
            row = row.model_copy(update={model: round(scores[benchmark.name], 2)})
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
    """Return a message for every gate that the final model does not pass, with its scores."""
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
