"""The classes of plain data: how values of each are written as JSON and built again."""

import datetime as dt
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import Any, NamedTuple

FIELDS_MAX = 256
"""Maximum fields of a named tuple."""
FACTORIES: dict[str, Any] = {kind.__name__: kind for kind in (int, float, str, list, dict, set, tuple)}
"""Default factories of a ``defaultdict`` that are sent; one with another factory is sent as a handle."""


class Scalar(NamedTuple):
    """How the values of an immutable class are sent."""

    parts: Callable[[Any], list[Any]]
    """Return the JSON of a value."""
    build: Callable[..., Any]
    """Return the value of this JSON."""


def _hexadecimal(*numbers: int) -> list[str]:
    return [hex(number) for number in numbers]


def parse_int(text: str) -> int:
    """Return the integer of hexadecimal digits."""
    return int(text, 16)


def _from_texts(kind: Any, parse: Callable[[str], Any] = parse_int) -> Callable[..., Any]:
    return lambda *texts: kind(*map(parse, texts))


SCALARS: dict[type, Scalar] = {
    complex: Scalar(lambda v: [repr(v.real), repr(v.imag)], _from_texts(complex, float)),
    bytes: Scalar(lambda v: [v.hex()], bytes.fromhex),
    range: Scalar(lambda v: _hexadecimal(v.start, v.stop, v.step), _from_texts(range)),
    Fraction: Scalar(lambda v: _hexadecimal(v.numerator, v.denominator), _from_texts(Fraction)),
    Decimal: Scalar(lambda v: [str(v)], Decimal),
    dt.date: Scalar(lambda v: [v.isoformat()], dt.date.fromisoformat),
    dt.timedelta: Scalar(lambda v: _hexadecimal(v.days, v.seconds, v.microseconds), _from_texts(dt.timedelta)),
    type(Ellipsis): Scalar(lambda _: [], lambda: Ellipsis),
    type(NotImplemented): Scalar(lambda _: [], lambda: NotImplemented),
}
SCALARS_BY_TAG = {kind.__name__: scalar for kind, scalar in SCALARS.items()}
SEQUENCES: dict[str, Any] = {"list": list, "set": set, "deque": deque, "bytearray": bytearray}
MAPPINGS: dict[str, Any] = {"dict": dict, "OrderedDict": OrderedDict, "Counter": Counter, "defaultdict": defaultdict}
FROZEN: dict[str, Any] = {"tuple": tuple, "frozenset": frozenset}
TAGS = {kind: tag for kinds in (SEQUENCES, MAPPINGS, FROZEN) for tag, kind in kinds.items()}
MUTABLE = frozenset((*SEQUENCES.values(), *MAPPINGS.values()))
BASES: tuple[Any, ...] = (dict, list, tuple, set, frozenset)
"""Of a subclass of these, the content is sent."""


def field_names(kind: type) -> tuple[str, ...]:
    """Return the fields of a class of named tuples; empty for any other class."""
    fields = getattr(kind, "_fields", ())
    good = type(fields) is tuple and all(type(f) is str and f.isidentifier() and f[0] != "_" for f in fields)
    plain = kind.__bases__ == (tuple,) and "__eq__" not in vars(kind)
    return fields if good and plain and len(fields) <= FIELDS_MAX else ()


@cache
def named_tuple(name: str, fields: tuple[str, ...]) -> Any:
    """Return a class of named tuples; raise ValueError for too many fields, or names that are none."""
    if len(fields) > FIELDS_MAX:
        raise ValueError(f"{len(fields)} fields")
    return namedtuple(name, fields)  # noqa: PYI024 (a class made at run time)


def fill(container: Any, items: list[Any]) -> None:
    """Add items, or pairs of a mapping, to a container."""
    if type(container) is Counter:
        dict.update(container, items)  # Counter.update adds
    elif isinstance(container, dict | set):
        container.update(items)
    else:
        container.extend(items)
