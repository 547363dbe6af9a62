"""A default of a field, and the sentences that describe it. Texts contain the values."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from fusionrun.api.contract import Contract
from fusionrun.api.crd.definition import shown
from fusionrun.api.spec.run import FusionRunSpec

T = TypeVar("T", bound=Contract)
Value = Callable[[FusionRunSpec, Any], object]
"""Returns a field's default from the spec and the list item that has the field; None leaves the field out."""


@dataclass(frozen=True)
class Default:
    """What happens if a field is omitted."""

    text: str
    """The last sentences of the field's description."""
    value: Value = lambda _spec, _item: None
    """None for a default that is not part of the spec, such as the operator's."""


def constant(value: object, text: str) -> Default:
    """Return a default that is the same for every spec."""
    return Default(text, lambda _spec, _item: value)


def each_field(
    path: str, cases: Mapping[str, T], recipe_values: Callable[[FusionRunSpec, Any], T | None]
) -> dict[str, Default]:
    """Return a default for each field of the object at ``path`` that has a value in the recipe and none in its class.

    ``cases`` are the recipe's values, by the name of the case in which they are used; ``recipe_values`` returns those
    for a spec and a list item, or None if the object has no defaults.
    """

    def value_of(name: str) -> Value:
        return lambda spec, item: getattr(recipe_values(spec, item), name, None)

    defaults = {}
    for name, field in type(next(iter(cases.values()))).model_fields.items():
        by_value = {case: getattr(values, name) for case, values in cases.items()}
        if field.get_default() is None and any(value is not None for value in by_value.values()):
            defaults[f"{path}.{field.alias}"] = Default(cases_text(by_value), value_of(name))
    return defaults


def cases_text(values: Mapping[str, object], otherwise: str = "") -> str:
    """Return "Defaults to A for X and Y, B for Z." from the value of each case."""
    cases: dict[str, list[str]] = {}
    for case, value in values.items():
        cases.setdefault(shown(value), []).append(case)
    if len(cases) == 1 and not otherwise:
        return f"Defaults to {next(iter(cases))}."
    parts = [f"{value} for {listed(names)}" for value, names in cases.items()]
    return f"Defaults to {listed([*parts, *([otherwise] if otherwise else [])])}."


def listed(names: Iterable[str]) -> str:
    """Return names as a list in a sentence."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
