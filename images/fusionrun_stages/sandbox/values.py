"""Conversion of Python values to JSON and back, for the channel between the tests and a program.

A value that is not plain data stays in its process; a number, its *handle*, represents it. Containers that can be
changed are numbered in the order of their first appearance in a call and its reply. Later appearances are references to
this number, so both processes agree on which containers are the same.

Instances of the preamble's classes are containers of their attributes. Those that one instance leads to, such as the
nodes of a list, are in one flat ``graph``: nested data would be as deep as the list is long.
"""

import datetime as dt
import json
import math
import sys
import time
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from functools import cache
from inspect import getattr_static
from itertools import islice
from typing import Any, NamedTuple, cast

from fusionrun_stages.sandbox.preamble import Classes, Preamble
from fusionrun_stages.sandbox.shared import Shared, attributes
from fusionrun_stages.sandbox.wire import FrameError

ITERATOR_MAX_ITEMS, ITERATOR_MAX_BYTES = 100_000, 2**20
"""Maximum items, and bytes of their JSON, that are read from an iterator: it may be endless."""
ITERATORS_SECONDS, ITERATOR_MIN_SECONDS = 2.5, 0.1
"""CPU time of the process until which iterators are read: half of its limit (``judge.CPU_SECONDS``). Each may use half
of what is left, and at least the minimum."""
FIELDS_MAX = 256
"""Maximum fields of a named tuple."""
JSON_INT = 2**53
FACTORIES: dict[str, Any] = {kind.__name__: kind for kind in (int, float, str, list, dict, set, tuple)}
"""Default factories of a ``defaultdict`` that are sent; one with another factory is sent as a handle."""


class _Scalar(NamedTuple):
    parts: Callable[[Any], list[Any]]
    """Return the JSON of a value."""
    build: Callable[..., Any]
    """Return the value of this JSON."""


def _hexadecimal(*numbers: int) -> list[str]:
    return [hex(number) for number in numbers]


def _int(text: str) -> int:
    return int(text, 16)


def _from_texts(kind: Any, parse: Callable[[str], Any] = _int) -> Callable[..., Any]:
    return lambda *texts: kind(*map(parse, texts))


_SCALARS: dict[type, _Scalar] = {
    complex: _Scalar(lambda v: [repr(v.real), repr(v.imag)], _from_texts(complex, float)),
    bytes: _Scalar(lambda v: [v.hex()], bytes.fromhex),
    range: _Scalar(lambda v: _hexadecimal(v.start, v.stop, v.step), _from_texts(range)),
    Fraction: _Scalar(lambda v: _hexadecimal(v.numerator, v.denominator), _from_texts(Fraction)),
    Decimal: _Scalar(lambda v: [str(v)], Decimal),
    dt.date: _Scalar(lambda v: [v.isoformat()], dt.date.fromisoformat),
    dt.timedelta: _Scalar(lambda v: _hexadecimal(v.days, v.seconds, v.microseconds), _from_texts(dt.timedelta)),
    type(Ellipsis): _Scalar(lambda _: [], lambda: Ellipsis),
    type(NotImplemented): _Scalar(lambda _: [], lambda: NotImplemented),
}
_SCALARS_BY_TAG = {kind.__name__: scalar for kind, scalar in _SCALARS.items()}
_SEQUENCES: dict[str, Any] = {"list": list, "set": set, "deque": deque, "bytearray": bytearray}
_MAPPINGS: dict[str, Any] = {"dict": dict, "OrderedDict": OrderedDict, "Counter": Counter, "defaultdict": defaultdict}
_FROZEN: dict[str, Any] = {"tuple": tuple, "frozenset": frozenset}
_TAGS = {kind: tag for kinds in (_SEQUENCES, _MAPPINGS, _FROZEN) for tag, kind in kinds.items()}
_MUTABLE = frozenset((*_SEQUENCES.values(), *_MAPPINGS.values()))
_BASES: tuple[Any, ...] = (dict, list, tuple, set, frozenset)
"""Of a subclass of these, the content is sent."""


NO_CLASSES = Classes(Preamble(), {})
_INVALID = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError)
"""What the constructors of these classes raise for other data."""


class Encoder:
    """Converts values to JSON; types that JSON does not have become ``[tag, ...]``.

    Types are compared exactly: a subclass may override ``__eq__``. Of a subclass of a container the content is sent,
    marked as ``loose``. ``handle`` returns the number of any other value, and of every value of the class ``opaque``.
    Instances of ``classes`` are sent by value.
    """

    def __init__(
        self,
        handle: Callable[[Any], int],
        shared: Shared | None = None,
        opaque: type | None = None,
        classes: Classes = NO_CLASSES,
    ) -> None:
        self._handle, self._opaque, self._classes = handle, opaque, classes
        self.shared = shared or Shared()
        self._pending: deque[Any] | None = None
        """Instances of the graph that is being encoded."""

    def encode(self, value: Any) -> Any:  # noqa: PLR0911 (one line per kind)
        """Return the JSON of a value."""
        kind = type(value)
        if value is None or kind is bool or kind is str:
            return value
        if kind is int:
            return value if -JSON_INT < value < JSON_INT else ["int", hex(value)]
        if kind is float:
            return value if math.isfinite(value) else ["float", repr(value)]
        if kind in _MUTABLE:
            if (number := self.shared.number(value)) is not None:
                return ["same", number]
            self.shared.add(value)
            self.shared.number(value)
            return self.content(value)
        if kind in _SCALARS:
            return [kind.__name__, *_SCALARS[kind].parts(value)]
        if kind in _FROZEN.values():
            return [_TAGS[kind], self._all(value)]
        return self._encode_other(value, kind)

    def content(self, value: Any) -> Any:
        """Return the JSON of a container's content, even if it has a number."""
        kind = type(value)
        if self._classes.name(kind) is not None:
            return ["object", self._attributes(value)]
        if kind is bytearray:
            return ["bytearray", value.hex()]
        if kind is deque:
            return ["deque", self._all(value), value.maxlen]
        if kind is defaultdict:
            factory = value.default_factory
            name = None if factory is None else factory.__name__ if factory in FACTORIES.values() else ""
            return ["handle", self._handle(value)] if name == "" else ["defaultdict", self._pairs(value), name]
        return [_TAGS[kind], self._pairs(value) if kind in _MAPPINGS.values() else self._all(value)]

    def _encode_other(self, value: Any, kind: type) -> Any:  # noqa: PLR0911 (one line per kind)
        if kind is self._opaque:
            return ["handle", self._handle(value)]
        if (name := self._classes.name(kind)) is not None and hasattr(value, "__dict__"):
            return self._instance(value, name)
        if kind in (dt.datetime, dt.time) and (value.tzinfo is None or type(value.tzinfo) is dt.timezone):
            return [kind.__name__, value.isoformat(), value.fold]
        if isinstance(value, tuple) and (fields := _fields(kind)) and len(fields) == len(value):
            return ["named", kind.__name__, list(fields), self._all(value)]
        if isinstance(value, dict):
            return ["loose", ["dict", self._pairs(value)]]
        for base in _BASES:
            if isinstance(value, base):
                return ["loose", [_TAGS[base], self._all(value)]]
        if isinstance(value, Iterator):
            return ["iterator", self._read(value)]
        if kind.__module__ == "numpy" and isinstance(value, getattr(sys.modules.get("numpy"), "generic", ())):
            return ["loose", self.encode(cast(Any, value).item())]
        return ["handle", self._handle(value)]

    def _instance(self, value: Any, name: str) -> list[Any]:
        """Return the JSON of an instance: with all that it leads to, or as a part of the graph that leads to it."""
        if (number := self.shared.number(value)) is not None:
            return ["same", number]
        self.shared.add(value)
        self.shared.number(value)
        new = ["new", name] if self._classes.is_own(type(value)) else ["loose", ["new", name]]
        if self._pending is not None:
            self._pending.append(value)
            return new
        self._pending = deque([value])
        contents = []
        try:
            while self._pending:
                contents.append(self._attributes(self._pending.popleft()))
        finally:
            self._pending = None
        return ["graph", new, contents]

    def _attributes(self, value: Any) -> list[Any]:
        return self._pairs(attributes(value))

    def _read(self, values: Iterator[Any]) -> list[Any]:
        """Return the first items of an iterator; stop before they use up the frame or the process's CPU time."""
        items: list[Any] = []
        size, began = 0, time.process_time()
        seconds = max(ITERATOR_MIN_SECONDS, (ITERATORS_SECONDS - began) / 2)
        for value in islice(values, ITERATOR_MAX_ITEMS):
            items.append(self.encode(value))
            size += len(json.dumps(items[-1]))
            if size > ITERATOR_MAX_BYTES or time.process_time() > began + seconds:
                break
        return items

    def _all(self, values: Iterable[Any]) -> list[Any]:
        return [self.encode(item) for item in values]

    def _pairs(self, values: Mapping[Any, Any]) -> list[Any]:
        return [[self.encode(key), self.encode(item)] for key, item in values.items()]


def _fields(kind: type) -> tuple[str, ...]:
    fields = getattr(kind, "_fields", ())
    good = type(fields) is tuple and all(type(f) is str and f.isidentifier() and f[0] != "_" for f in fields)
    plain = kind.__bases__ == (tuple,) and "__eq__" not in vars(kind)
    return fields if good and plain and len(fields) <= FIELDS_MAX else ()


class Decoder:
    """Converts the output of ``Encoder`` back, and raises FrameError for anything else.

    ``resolve`` returns the object of a handle.
    """

    def __init__(
        self, resolve: Callable[[Any], Any], shared: Shared | None = None, classes: Classes = NO_CLASSES
    ) -> None:
        self._resolve, self._classes = resolve, classes
        self.shared = shared or Shared()
        self._pending: deque[Any] | None = None
        """Instances of the graph that is being decoded, without their attributes yet."""
        self.loose = False
        """Whether a value was not of exactly the class that it has here."""
        self.unordered = False
        """Whether the order of a set may be another one."""

    def decode(self, data: Any) -> Any:
        """Return the value of its JSON."""
        try:
            return self._decode(data)
        except _INVALID as error:
            raise FrameError(f"not plain data: {error}") from None

    def update(self, container: Any, data: Any) -> None:
        """Give a container the content that was encoded by ``Encoder.content``."""
        try:
            tag, content, *_ = data
            if tag == "object" and self._classes.name(type(container)) is not None:
                self._set_attributes(container, content)
                return
            if tag != _TAGS.get(type(container)):
                raise TypeError(f"a {tag} for a {type(container).__name__}")
            if tag == "bytearray":
                container[:] = bytes.fromhex(content)
                return
            new = self._pairs(content) if tag in _MAPPINGS else self._all(content)
            container.clear()
            _fill(container, new)
        except _INVALID as error:
            raise FrameError(f"not plain data: {error}") from None

    def _decode(self, data: Any) -> Any:  # noqa: C901, PLR0911, PLR0912 (one line per tag)
        if not isinstance(data, list):
            if isinstance(data, dict):
                raise TypeError("an object")
            return data
        tag, *rest = data
        self.unordered |= tag in ("set", "frozenset")
        if tag in _SEQUENCES or tag in _MAPPINGS:
            return self._container(tag, *rest)
        if tag in _FROZEN:
            return _FROZEN[tag](self._all(*rest))
        if tag in _SCALARS_BY_TAG:
            return _SCALARS_BY_TAG[tag].build(*rest)
        match tag:
            case "same":
                return self.shared.get(*rest)
            case "loose":
                self.loose = True
                return self._decode(*rest)
            case "named":
                name, fields, items = rest
                return _named(str(name), tuple(fields))(*self._all(items))
            case "iterator":
                self.loose = True  # it was read before the tests ask for its items, and may be longer
                return iter(self._all(*rest))
            case "int":
                return _int(*rest)
            case "float":
                return float(*rest)
            case "datetime" | "time":
                text, fold = rest
                return getattr(dt, tag).fromisoformat(text).replace(fold=fold)
            case "graph":
                return self._graph(*rest)
            case "new":
                return self._new(*rest)
            case "handle":
                return self._resolve(*rest)
            case _:
                raise ValueError(f"tag {tag!r}")

    def _graph(self, first: Any, contents: Any) -> Any:
        if self._pending is not None:
            raise ValueError("a graph in a graph")
        self._pending = pending = deque[Any]()
        value = self._decode(first)
        for content in contents:
            self._set_attributes(pending.popleft(), content)
        if pending:
            raise ValueError("an instance without its attributes")
        self._pending = None
        return value

    def _new(self, name: Any) -> Any:
        if self._pending is None:
            raise ValueError("an instance outside of a graph")
        instance: Any = object.__new__(self._classes.find(name))
        self.shared.add(instance)  # before its attributes: one may be the instance itself
        self._pending.append(instance)
        return instance

    def _set_attributes(self, instance: Any, pairs: Any) -> None:
        new = dict(self._pairs(pairs))
        if not all(isinstance(name, str) and name.isidentifier() and name[:2] != "__" for name in new):
            raise ValueError("an attribute that is no name")
        if any(_is_method(getattr_static(type(instance), name, None)) for name in new):
            raise ValueError("an attribute in the place of a method")  # the tests would call the program's
        for name in attributes(instance).keys() - new.keys():
            delattr(instance, name)
        for name, value in new.items():
            setattr(instance, name, value)

    def _container(self, tag: str, items: Any, *rest: Any) -> Any:
        if tag == "deque":
            container: Any = deque((), *rest)
        elif tag == "defaultdict":
            (name,) = rest
            container = defaultdict(None if name is None else FACTORIES[name])
        else:
            container = {**_SEQUENCES, **_MAPPINGS}[tag](*rest)
        self.shared.add(container)  # before its items: it may contain itself
        if tag == "bytearray":
            container.extend(bytes.fromhex(items))
        else:
            _fill(container, self._pairs(items) if tag in _MAPPINGS else self._all(items))
        return container

    def _all(self, items: Any) -> list[Any]:
        if not isinstance(items, list):
            raise TypeError("items that are no list")
        return [self._decode(item) for item in items]

    def _pairs(self, pairs: Any) -> list[tuple[Any, Any]]:
        return [(self._decode(key), self._decode(item)) for key, item in pairs]


def _fill(container: Any, items: list[Any]) -> None:
    if type(container) is Counter:
        dict.update(container, items)  # Counter.update adds
    elif isinstance(container, dict | set):
        container.update(items)
    else:
        container.extend(items)


def _is_method(found: Any) -> bool:
    return callable(found) or isinstance(found, property | classmethod)


@cache
def _named(name: str, fields: tuple[str, ...]) -> Any:
    if len(fields) > FIELDS_MAX:
        raise ValueError(f"{len(fields)} fields")
    return namedtuple(name, fields)  # noqa: PYI024 (a class made at run time)
