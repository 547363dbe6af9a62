"""Numbers of rows and pairs of the recipe's data sets, compared with the published numbers."""

from collections.abc import Mapping, Sequence

from fusionrun.api.data import Dataset
from fusionrun.api.sizes import PUBLISHED, Sizes, difference, size_warning
from fusionrun_stages.construction.files import HELD_OUT, PAIR, SFT

HEAD = ("data set", "SFT rows", "recipe", "difference", "pairs", "recipe", "difference", "within 20 %")


def compare(
    datasets: Sequence[Dataset], by_dataset: Mapping[str, Mapping[str, int]]
) -> tuple[list[tuple[str, ...]], list[str]]:
    """Compare the presets among the data sets with the published sizes.

    Parameters
    ----------
    by_dataset
        Rows by data set and kind, of ``construct``'s manifest. A data set that is missing gave none.

    Returns
    -------
    tuple
        Rows of a table with the columns ``HEAD``, and a warning for each data set that differs by more than 20 %.
    """
    table: list[tuple[str, ...]] = []
    warnings: list[str] = []
    for dataset in datasets:
        if dataset.preset is None:
            continue
        published = PUBLISHED[dataset.preset]
        rows = by_dataset.get(dataset.name, {})
        found = Sizes(rows.get(SFT, 0), rows.get(PAIR, 0) + rows.get(HELD_OUT, 0))
        warning = size_warning(found, published)
        table.append((
            dataset.name,
            f"{found.sft_rows:,}", f"{published.sft_rows:,}", _percent(found.sft_rows, published.sft_rows),
            f"{found.pairs:,}", f"{published.pairs:,}", _percent(found.pairs, published.pairs),
            "⚠ no" if warning else "yes",
        ))  # fmt: skip
        if warning:
            warnings.append(f"data set {dataset.name}: {warning}")
    return table, warnings


def _percent(found: int, published: int) -> str:
    share = difference(found, published)
    return "" if share is None else f"{100 * share:+.1f} %"
