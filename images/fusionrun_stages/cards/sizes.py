"""Numbers of rows and pairs of the recipe's data sets, compared with the published numbers."""

from collections.abc import Mapping, Sequence

from fusionrun.api.published.sizes import PUBLISHED, Sizes, difference, size_warning
from fusionrun.api.spec.data import Dataset
from fusionrun_stages.construction.files import HELD_OUT, PAIR, SFT

HEAD = ("data set", "SFT rows", "recipe", "difference", "pairs", "recipe", "difference", "within 20 %")


def compare(
    datasets: Sequence[Dataset], by_dataset: Mapping[str, Mapping[str, int]]
) -> tuple[list[tuple[str, ...]], list[str]]:
    """Compare the presets among the data sets with the published sizes.

    ``by_dataset`` has the rows by data set and kind (``construct``'s manifest); a data set without rows may be missing.
    Return the rows of a table with the columns ``HEAD``, and a warning for each data set that differs by more than
    20 %.
    """
    table: list[tuple[str, ...]] = []
    warnings: list[str] = []
    for dataset in datasets:
        if dataset.preset is None:
            continue
        recipe = PUBLISHED[dataset.preset]
        rows = by_dataset.get(dataset.name, {})
        run = Sizes(rows.get(SFT, 0), rows.get(PAIR, 0) + rows.get(HELD_OUT, 0))
        warning = size_warning(run, recipe)
        table.append((
            dataset.name,
            f"{run.sft_rows:,}", f"{recipe.sft_rows:,}", _percent(run.sft_rows, recipe.sft_rows),
            f"{run.pairs:,}", f"{recipe.pairs:,}", _percent(run.pairs, recipe.pairs),
            "⚠ no" if warning else "yes",
        ))  # fmt: skip
        if warning:
            warnings.append(f"data set {dataset.name}: {warning}")
    return table, warnings


def _percent(run: int, recipe: int) -> str:
    share = difference(run, recipe)
    return "" if share is None else f"{100 * share:+.1f} %"
