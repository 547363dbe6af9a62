"""How many prompts, responses and training rows a run is expected to have, from its spec. Pure.

A number is unknown if the spec has no limit: the size of the data set is known only when ``prepare`` has read it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fusionrun.api.published.sizes import PUBLISHED, Sizes
from fusionrun.api.spec.data import Dataset, Task
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.spec.sources import SourceType


@dataclass(frozen=True)
class Amounts:
    """Expected numbers of one data set; None if unknown."""

    dataset: str
    prompts: int | None
    by_source: dict[str, int | None]
    """Responses by source. Those that a data set contains are unknown."""
    rows: Sizes | None
    """SFT rows and pairs."""

    @property
    def responses(self) -> int | None:
        """Responses of all sources; None if none is known."""
        known = [count for count in self.by_source.values() if count is not None]
        return sum(known) if known else None


def amounts(spec: FusionRunSpec, counted: Mapping[str, int] | None = None) -> list[Amounts]:
    """Return the expected numbers of each data set; ``counted`` has the prompts that ``prepare`` has counted."""
    inside = {source.name for source in spec.sources if source.type is SourceType.DATASET}
    return [_amounts(d, inside, (counted or {}).get(d.name, d.max_prompts)) for d in spec.datasets]


def _amounts(dataset: Dataset, inside: set[str], prompts: int | None) -> Amounts:
    samples = dataset.samples_per_prompt or 1
    by_source = {
        source: None if source in inside or prompts is None else prompts * samples for source in dataset.sources or []
    }
    return Amounts(dataset.name, prompts, by_source, _rows(dataset, prompts))


def _rows(dataset: Dataset, prompts: int | None) -> Sizes | None:
    """Return the rows and pairs of ``maxKept``, in the published proportion; without one, every prompt gives a row."""
    kept = dataset.max_kept or prompts
    if kept is None:
        return None
    if dataset.preset is None:
        pairs = 0 if dataset.task is Task.SFT_ONLY else kept
        return Sizes(kept, pairs)
    published = PUBLISHED[dataset.preset]
    return Sizes(*(kept * size // published.total for size in (published.sft_rows, published.pairs)))


def total_rows(found: Sequence[Amounts]) -> Sizes:
    """Return the sum of the known rows and pairs."""
    known = [each.rows for each in found if each.rows]
    return Sizes(sum(rows.sft_rows for rows in known), sum(rows.pairs for rows in known))


def unknown(found: Sequence[Amounts]) -> list[str]:
    """Return the fields of the data sets whose prompts, or the responses in them, are not counted."""
    return [
        f"datasets[{each.dataset}]" for each in found if None in (each.prompts, each.rows, *each.by_source.values())
    ]
