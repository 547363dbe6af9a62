"""What the manifest of ``evaluate`` says about the score of a benchmark."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusionrun.api.tasks.protocol import Aggregation, Unit
from fusionrun_stages.evaluation.tallies import Column, Tally
from fusionrun_stages.judges.templates import shown
from fusionrun_stages.uncertainty.intervals import Interval, interval
from fusionrun_stages.uncertainty.scored import Scored, category_means, score

CATEGORIES_MAX = 256
"""Most means of categories in the manifest."""
DIGITS = 4


def scored(column: Column) -> Scored:
    """Return the scores of a metric as arrays."""
    import numpy as np

    return Scored(np.array(column.values), np.array(column.weights), tuple(column.groups))


def details_of(
    tally: Tally, value: float | None, bounds: Interval | None, seed: int, materials: Path | None, judge: str | None
) -> dict[str, Any]:
    """Return the details of a benchmark: protocol, interval, counts, means of categories and some wrong responses."""
    protocol = tally.protocol
    main = scored(tally.columns[""])
    details: dict[str, Any] = {
        "score": None if value is None else round(value, DIGITS),
        "interval": bounds and [round(bounds.lower, DIGITS), round(bounds.upper, DIGITS)],
        "interval_method": bounds and bounds.method,
        "standard_error": bounds and round(bounds.standard_error, DIGITS),
        **{name: getattr(tally, name) for name in ("right", "graded", "left_out", "truncated", "failed", "blank")},
        "unparsed": tally.unparsed,
        "questions_sha256": tally.questions_sha256,
    }
    if means := category_means(main):
        details["categories"] = {name: round(mean, DIGITS) for name, mean in list(means.items())[:CATEGORIES_MAX]}
    if protocol is not None:
        details |= {
            "protocol": protocol.name,
            "protocol_version": protocol.version,
            "modified": protocol.modified,
            "licence": protocol.licence,
            "unit": str(protocol.unit),
        }
        details["metrics"] = _further_metrics(tally, seed)
    if protocol is not None and protocol.grader.needs_judge:
        folder = materials / tally.name if materials else None
        details |= {
            "judge": judge,
            "judge_in_replies": sorted(tally.judges),
            "judge_of_protocol": protocol.judge.model if protocol.judge else None,
            "templates_sha256": _hashes(folder) if folder and folder.is_dir() else {},
            "position_consistency": round(tally.consistent / tally.ordered, DIGITS) if tally.ordered else None,
            "length_bias": length_bias(tally),
        }
    return details | {"wrong_answers": tally.wrong_answers}


def judge_text(details: Mapping[str, Any]) -> str | None:
    """Return a line about the judge of a benchmark, from its details; None if no model judges it."""
    if "judge" not in details:
        return None
    numbers = (f"{name.replace('_', ' ')} {_known(details[name])}" for name in ("position_consistency", "length_bias"))
    return (
        f"judge {details['judge']} (of the protocol: {details['judge_of_protocol'] or 'any'}), "
        f"{details['unparsed']} unparsed, {', '.join(numbers)}, files: {shown(details['templates_sha256']) or 'none'}"
    )


def _known(number: float | None) -> str:
    return "not known" if number is None else f"{number:.2f}"


def length_bias(tally: Tally) -> float | None:
    """Return Spearman's correlation of the length of a response and its score; None if one of them does not vary.

    The length is that beyond the baseline's response, if the judge compares with one.
    """
    import numpy as np
    from scipy.stats import spearmanr

    # With length control, the main values are predictions for responses of equal length.
    controlled = tally.length_control is not None and tally.protocol is not None
    names = tally.protocol.metrics[1:2] if controlled and tally.protocol else [""]
    column = tally.columns.get(names[0] if names else "", Column())
    kept = np.array(column.weights) != 0
    lengths, values = np.array(tally.lengths)[kept], np.array(column.values)[kept]
    if len(values) < 3 or np.ptp(lengths) == 0 or np.ptp(values) == 0:  # noqa: PLR2004 - two points always correlate
        return None
    return round(float(spearmanr(lengths, values).statistic), DIGITS)


def _further_metrics(tally: Tally, seed: int) -> Mapping[str, Any]:
    unit = tally.protocol.unit if tally.protocol else Unit.PERCENT
    aggregation = tally.protocol.aggregation if tally.protocol else Aggregation.MEAN
    if aggregation is Aggregation.LENGTH_CONTROLLED:
        aggregation = Aggregation.MEAN
    metrics = {}
    for name, column in tally.columns.items():
        numbers = scored(column)
        value = score(numbers, aggregation) if name else None
        if value is not None:
            bounds = interval(numbers, aggregation, unit, seed)
            metrics[name] = {
                "score": round(value, DIGITS),
                "interval": bounds and [round(bounds.lower, DIGITS), round(bounds.upper, DIGITS)],
            }
    return metrics


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
