"""Check an object against the schema of the CRD, as the API server does at creation: structure, then rules in CEL.

Messages follow those of the API server. Rules on changes (``oldSelf``) do not apply to a new object.

Notes
-----
Source: Kubernetes, "Validation" and "Validation rules" of CustomResourceDefinitions; messages: kube-openapi,
pkg/validation/errors.
"""

import difflib
import functools
import re
from collections.abc import Iterator
from typing import Any

from cel_expr_python import cel

from fusionrun import __version__
from fusionrun.errors import SpecError

Schema = dict[str, Any]

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,),
    "boolean": (bool,), "integer": (int,), "number": (int, float),
}  # fmt: skip
_ARTICLE = {"object": "an", "array": "an", "integer": "an"}
_MAX_SHOWN = 120


class UnknownFieldError(SpecError):
    """A field that the schema does not have. ``kubectl`` refuses it; a client without strict validation drops it."""


class RuleError(SpecError):
    """A violated rule between fields. The structure of the object is valid."""


def check(value: Any, schema: Schema, field: str) -> Iterator[SpecError]:
    """Yield every fault of a value. The rules of an object are checked if its structure has no fault."""
    structural = list(_structure(value, schema, field))
    yield from structural
    broken = [error.field for error in structural if not isinstance(error, UnknownFieldError)]
    yield from _rules(value, schema, field, broken)


def without_nulls(value: Any, schema: Schema) -> Any:
    """Return a value without the fields that are null. The API server removes them before it validates an object.

    Notes
    -----
    Source: apiextensions-apiserver, ``PruneNonNullableNullsWithoutDefaults``. The CRD has no ``nullable``.
    """
    if isinstance(value, dict):
        known, others = schema.get("properties", {}), schema.get("additionalProperties")
        below = {name: known.get(name, others) for name in value}
        return {
            name: item if below[name] is None else without_nulls(item, below[name])
            for name, item in value.items()
            if item is not None or below[name] is None
        }
    if isinstance(value, list) and "items" in schema:
        return [without_nulls(item, schema["items"]) for item in value]
    return value


def _structure(value: Any, schema: Schema, field: str) -> Iterator[SpecError]:
    if "x-kubernetes-int-or-string" in schema:
        is_valid = isinstance(value, int | str) and not isinstance(value, bool)
        wanted = "" if is_valid else "an integer or a string"
    else:
        name = schema.get("type", "object")
        is_valid = isinstance(value, _TYPES[name]) and (name == "boolean" or not isinstance(value, bool))
        wanted = "" if is_valid else f"{_ARTICLE.get(name, 'a')} {name}"
    if wanted:
        yield SpecError(field, _short(value), f"must be {wanted}")
        return
    match value:
        case dict():
            yield from _size(value, schema, field, "Properties", "fields")
            yield from _fields(value, schema, field)
        case list():
            yield from _size(value, schema, field, "Items", "items")
            yield from _items(value, schema, field)
        case str():
            yield from _size(value, schema, field, "Length", "characters")
            yield from _text(value, schema, field)
        case int() | float():
            yield from _bounds(value, schema, field)
        case _:
            pass


def _fields(value: dict[str, Any], schema: Schema, field: str) -> Iterator[SpecError]:
    if "properties" not in schema:
        if values := schema.get("additionalProperties"):
            for name, item in value.items():
                yield from _structure(item, values, f"{field}[{name}]")
        return
    known = schema["properties"]
    for name in schema.get("required", ()):
        if name not in value:
            yield SpecError(f"{field}.{name}", None, "is required")
    for name, item in value.items():
        if name in known:
            yield from _structure(item, known[name], f"{field}.{name}")
        else:
            near = difflib.get_close_matches(str(name), known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            rule = f"FusionRun {__version__} has no such field{hint}"
            yield UnknownFieldError(f"{field}.{name}", _short(item), rule)


def _items(value: list[Any], schema: Schema, field: str) -> Iterator[SpecError]:
    keys = schema.get("x-kubernetes-list-map-keys", ())
    seen = set()
    for index, item in enumerate(value):
        yield from _structure(item, schema["items"], f"{field}[{index}]")
        key = tuple(str(item.get(name)) for name in keys) if isinstance(item, dict) else ()
        if key and key in seen:
            yield SpecError(f"{field}[{index}]", ", ".join(key), f"Duplicate value: {', '.join(keys)} must be unique")
        seen.add(key)


def _size(value: Any, schema: Schema, field: str, what: str, unit: str) -> Iterator[SpecError]:
    least, most = schema.get(f"min{what}"), schema.get(f"max{what}")
    if least is not None and len(value) < least:
        yield SpecError(field, _short(value), f"should have at least {least} {unit}")
    if most is not None and len(value) > most:
        yield SpecError(field, _short(value), f"should have at most {most} {unit}, not {len(value)}")


def _text(value: str, schema: Schema, field: str) -> Iterator[SpecError]:
    if "enum" in schema and value not in schema["enum"]:
        yield SpecError(field, value, f"supported values: {', '.join(schema['enum'])}")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield SpecError(field, _short(value), f"should match {schema['pattern']!r}")


def _bounds(value: float, schema: Schema, field: str) -> Iterator[SpecError]:
    least, most = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if least is not None and (value < least or (above and value == least)):
        yield SpecError(field, value, f"should be greater than {'' if above else 'or equal to '}{least}")
    if most is not None and (value > most or (below and value == most)):
        yield SpecError(field, value, f"should be less than {'' if below else 'or equal to '}{most}")


def _rules(value: Any, schema: Schema, field: str, broken: list[str]) -> Iterator[SpecError]:
    """Yield the violated rules of a value and of everything in it."""
    if not any(_contains(field, fault) for fault in broken):
        for rule in schema.get("x-kubernetes-validations", ()):
            if "oldSelf" not in rule["rule"] and not _holds(rule["rule"], value):
                yield RuleError(field, _short(value), rule["message"])
    if isinstance(value, dict):
        for name, below in schema.get("properties", {}).items():
            if name in value:
                yield from _rules(value[name], below, f"{field}.{name}", broken)
    elif isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from _rules(item, schema["items"], f"{field}[{index}]", broken)


def _contains(field: str, other: str) -> bool:
    return other == field or other.startswith((f"{field}.", f"{field}["))


@functools.cache
def _program(rule: str) -> cel.Expression:
    return cel.NewEnv(variables={"self": cel.Type.DYN}).compile(rule)


def _holds(rule: str, value: Any) -> bool:
    return _program(rule).eval(data={"self": value}).value() is True


def _short(value: Any) -> Any:
    """Return a value for a message: a long one is cut."""
    shown = repr(value)
    return value if len(shown) <= _MAX_SHOWN else _Cut(shown[: _MAX_SHOWN - 3] + "...")


class _Cut(str):
    """A text that is shown without quotation marks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)
