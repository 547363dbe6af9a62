"""Shorter forms of values, for a result that does not fit a termination message."""

from fusionrun.api.results.values import Compared, Constructed, Evaluated, Prepared, Resolved, Values
from fusionrun.api.stage import EvaluatedModel


def shorter_forms(values: Values | None) -> list[Values]:
    """Return the values with less and less detail, for a result that is too long; the manifest has all of it.

    Of a comparison, the lower bounds of the final model's differences stay longest: gates need them.
    """
    if isinstance(values, Resolved):
        without_licences = values.model_copy(update={"licences": []})
        return [without_licences, Resolved(pins=values.pins, complete=values.complete)]
    if isinstance(values, Prepared):
        return [values.model_copy(update={"by_dataset": {}})]
    if isinstance(values, Evaluated):
        without_bounds = values.model_copy(update={"lower": {}, "upper": {}})
        return [without_bounds, without_bounds.model_copy(update={"graded": {}, "unscored": {}})]
    if isinstance(values, Compared):
        without = dict.fromkeys(("prompts_needed", "p_value", "upper"))
        bounds = _shorter(values, without)
        final = f"{EvaluatedModel.FINAL}-"
        ordered = sorted(bounds.differences.items(), key=lambda pair: not pair[0].startswith(final))
        counts = range(len(ordered) - 1, 0, -1)
        fewer = [values.model_copy(update={"differences": dict(ordered[:count])}) for count in counts]
        return [_shorter(values, {"prompts_needed": None}), bounds, *fewer]
    if not isinstance(values, Constructed):
        return []
    without_datasets = values.model_copy(update={"by_dataset": None})
    sources = {name: source.model_copy(update={"win_rate": None}) for name, source in values.by_source.items()}
    return [without_datasets, without_datasets.model_copy(update={"by_source": sources})]


def _shorter(values: Compared, without: dict[str, None]) -> Compared:
    by_pair = {
        pair: {name: difference.model_copy(update=without) for name, difference in differences.items()}
        for pair, differences in values.differences.items()
    }
    return values.model_copy(update={"differences": by_pair})
