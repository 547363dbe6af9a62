"""The numbers of a run's data set from the results of its pods, and those of a stage, for its status."""

from collections.abc import Sequence
from typing import Any

from fusionrun.api.published.sizes import PUBLISHED, Sizes, size_warning
from fusionrun.api.results.result import StageResult
from fusionrun.api.results.values import (
    Constructed,
    DatasetCounts,
    Generated,
    Judged,
    Preflighted,
    Promoted,
    SourceCounts,
    Trained,
)
from fusionrun.api.spec.data import Dataset
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.status.results import DatasetRows, DatasetSummary, SourceRows


def final_numbers(results: Sequence[StageResult]) -> dict[str, Any]:
    """Return the fields of a stage's status that the results of its pods fill."""
    loss, accuracy, first = None, None, results[0].values if results else None
    if isinstance(first, Trained):
        loss, accuracy = first.last_loss, first.last_reward_accuracy
    elif isinstance(first, Promoted):
        loss, accuracy = first.held_out_loss, first.held_out_accuracy
    generated = [r.values for r in results if isinstance(r.values, Generated)]
    paid = [r.values for r in results if isinstance(r.values, Generated | Judged)]
    rates = (round(v.tokens_per_second, 1) for v in generated if v.tokens_per_second is not None)
    memory = (r.peak_memory_bytes for r in results if r.peak_memory_bytes is not None)
    return {
        "message": _measured(first) if isinstance(first, Preflighted) else None,
        "cache_hit": True if results and all(r.cached for r in results) else None,
        "cost_micro": sum(v.cost_micro or 0 for v in paid) or None,
        "peak_memory_bytes": max(memory, default=None),
        "tokens_per_second": max(rates, default=None),
        "loss": None if loss is None else round(loss, 4),
        "loss_difference": _rounded(first.held_out_loss_difference) if isinstance(first, Promoted) else None,
        "loss_standard_error": _rounded(first.held_out_loss_standard_error) if isinstance(first, Promoted) else None,
        "reward_accuracy": None if accuracy is None else round(accuracy, 4),
    }


def _measured(values: Preflighted) -> str | None:
    """Return what ``preflight`` measured, for people; None if it has no figures."""
    parts = []
    if values.sft_step_seconds is not None and values.dpo_step_seconds is not None:
        steps = f"SFT {values.sft_step_seconds:.3g} s and DPO {values.dpo_step_seconds:.3g} s per step"
        memory = values.gpu_memory_bytes
        parts.append(f"{steps}, {memory / 2**30:.1f} GiB of GPU memory" if memory else steps)
    if values.gpu:
        parts.append(values.gpu)
    if values.bandwidth is not None:
        parts.append(f"{values.bandwidth / 1e9:.3g} GB/s between the processes")
    if values.pairs is not None:
        parts.append(f"the reward model orders {values.pairs} calibration pairs correctly")
    return "; ".join(parts) or None


def _rounded(number: float | None) -> float | None:
    """Return a number with four significant digits: a difference of two losses may be small."""
    return None if number is None else float(f"{number:.4g}")


def dataset_summary(results: Sequence[StageResult], spec: FusionRunSpec) -> DatasetSummary | None:
    """Return the status of the training data from the result of ``construct``; None if its result was lost."""
    constructed = results[0].values if results else None
    if not isinstance(constructed, Constructed):
        return None
    by_dataset = constructed.by_dataset or {}
    by_source = {s.name: constructed.by_source.get(s.name, SourceCounts()) for s in spec.sources}
    return DatasetSummary(
        sft_rows=constructed.sft_rows,
        pairs=constructed.pairs,
        held_out_pairs=constructed.held_out_pairs,
        truncated_share=constructed.truncated_share,
        mean_margin=constructed.mean_margin,
        by_source=[SourceRows(source=name, **counts.model_dump(by_alias=False)) for name, counts in by_source.items()],
        by_dataset=[_dataset_rows(d, by_dataset[d.name]) for d in spec.datasets if d.name in by_dataset],
        drops=dict(sorted(constructed.drops.items())),
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
