"""The encoding of reported values in release 0.2.0: flat dictionaries whose keys have a prefix.

Results and artifact manifests contain this form and the typed one (``api/results/values.py``), so that an operator or a
stage of release 0.2 can read what a newer pod wrote. A result or manifest without typed values is read from this form.

Delete this module when docs/releases.md no longer lists 0.2.0 among the releases that can be upgraded from or rolled
back to. Then let ``artifacts.is_complete`` require ``values``, so that artifacts of release 0.2 are not reused.
"""

from typing import Any

from pydantic import TypeAdapter, ValidationError

from fusionrun.api.contract import Contract
from fusionrun.api.results.values import Constructed, Evaluated, Promoted, Resolved, Values
from fusionrun.api.stage import StageKind
from fusionrun.api.storable import Counts, Numbers

PEAK_MEMORY = "peak_memory_bytes"
DROP = "drop:"
SFT_OF_SOURCE, PAIRS_OF_SOURCE, WIN_RATE = "sft:", "pairs:", "win:"
SFT_OF_DATASET, PAIRS_OF_DATASET = "sft@", "pairs@"
SOURCES_MAX = 16
"""Maximum number of win rates in a result of release 0.2: those of the first sources by name."""

_VALUES: TypeAdapter[Values] = TypeAdapter(Values)


class FlatValues(Contract):
    """What a pod of release 0.2 reports, whatever its kind."""

    counts: Counts = {}
    numbers: Numbers = {}
    pins: list[str] = []
    complete: list[int] = []


def flatten(values: Values | None, peak_memory_bytes: int | None) -> list[FlatValues]:
    """Return the flat forms of the values, the complete one first.

    A shorter form leaves out what release 0.2 only displays: the counts of data sets, then those of sources and drops;
    of an evaluation the number of graded prompts.
    """
    memory = {} if peak_memory_bytes is None else {PEAK_MEMORY: peak_memory_bytes}
    match values:
        case None:
            forms: list[dict[str, Any]] = [{}]
        case Resolved():
            forms = [{"pins": values.pins, "complete": values.complete}]
        case Evaluated():
            forms = [{"counts": values.graded, "numbers": values.scores}, {"numbers": values.scores}]
        case Constructed():
            forms = _constructed(values)
        case Promoted():
            counts, numbers = _scalars(values)
            forms = [{"counts": counts, "numbers": {"step": counts.pop("step"), **numbers}}]
        case _:
            counts, numbers = _scalars(values)
            forms = [{"counts": counts, "numbers": numbers}]
    return [FlatValues(**form | {"counts": form.get("counts", {}) | memory}) for form in forms]


def _scalars(values: Values) -> tuple[dict[str, int], dict[str, float]]:
    """Return the integers and the measured numbers of the values, by the names of their fields."""
    fields = {name: getattr(values, name) for name in type(values).model_fields}
    counts = {name: value for name, value in fields.items() if isinstance(value, int)}
    return counts, {name: value for name, value in fields.items() if isinstance(value, float)}


def _constructed(values: Constructed) -> list[dict[str, Any]]:
    counts, numbers = _scalars(values)
    sources, rates = dict(counts), dict(numbers)
    datasets: dict[str, int] = {}
    for name, source in sorted(values.by_source.items()):
        rows = {f"{SFT_OF_SOURCE}{name}": source.sft_rows, f"{PAIRS_OF_SOURCE}{name}": source.pairs}
        sources |= {key: count for key, count in rows.items() if count}
        if source.win_rate is not None and len(rates) < len(numbers) + SOURCES_MAX:
            rates[f"{WIN_RATE}{name}"] = source.win_rate
    sources |= {f"{DROP}{reason}": count for reason, count in values.drops.items()}
    for name, dataset in (values.by_dataset or {}).items():
        datasets |= {f"{SFT_OF_DATASET}{name}": dataset.sft_rows, f"{PAIRS_OF_DATASET}{name}": dataset.pairs}
    return [
        {"counts": sources | datasets, "numbers": rates},
        {"counts": sources, "numbers": rates},
        {"counts": counts, "numbers": numbers},
    ]


def unflatten(kind: str, flat: FlatValues) -> Values | None:
    """Return the typed values of a pod of release 0.2, or None if they are not those of this kind of stage."""
    counts, numbers = flat.counts, flat.numbers
    fields: dict[str, Any] = {**counts, **numbers}
    if kind == StageKind.RESOLVE:
        fields = {"pins": flat.pins, "complete": flat.complete}
    elif kind == StageKind.EVALUATE:
        graded = {name: count for name, count in counts.items() if name != PEAK_MEMORY}
        fields = {"scores": numbers, "graded": graded}
    elif kind == StageKind.CONSTRUCT:
        if "sft_rows" not in counts:
            return None
        fields |= {
            "by_source": _grouped(flat, sft_rows=SFT_OF_SOURCE, pairs=PAIRS_OF_SOURCE, win_rate=WIN_RATE),
            "by_dataset": _grouped(flat, sft_rows=SFT_OF_DATASET, pairs=PAIRS_OF_DATASET) or None,
            "drops": {key.removeprefix(DROP): n for key, n in sorted(counts.items()) if key.startswith(DROP)},
        }
    try:
        return _VALUES.validate_python({**fields, "kind": kind})
    except ValidationError:
        return None


def _grouped(flat: FlatValues, **prefixes: str) -> dict[str, dict[str, float]]:
    """Return the fields of every source or data set, by its name."""
    by_name: dict[str, dict[str, float]] = {}
    for key, value in {**flat.counts, **flat.numbers}.items():
        for field, prefix in prefixes.items():
            if key.startswith(prefix):
                by_name.setdefault(key.removeprefix(prefix), {})[field] = value
    return by_name
