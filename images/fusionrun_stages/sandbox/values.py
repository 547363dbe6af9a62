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
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, cast

from fusionrun_stages.sandbox.plain import (
    BASES,
    FACTORIES,
    FROZEN,
    MAPPINGS,
    MUTABLE,
    SCALARS,
    SCALARS_BY_TAG,
    SEQUENCES,
    TAGS,
    field_names,
    fill,
    named_tuple,
    parse_int,
)
from fusionrun_stages.sandbox.preamble import Classes, Preamble
from fusionrun_stages.sandbox.shared import Shared, attributes, replace_attributes
from fusionrun_stages.sandbox.wire import FrameError

JSON_INT = 2**53
ITERATOR_MAX_ITEMS, ITERATOR_MAX_BYTES = 100_000, 2**20
"""Maximum items, and bytes of their JSON, that are read from an iterator: it may be endless."""
ITERATORS_SECONDS, ITERATOR_MIN_SECONDS = 2.5, 0.1
"""CPU time of the process until which iterators are read: half of its limit (``judge.CPU_SECONDS``). Each may use half
of what is left, and at least the minimum."""
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
        if kind in MUTABLE:
            if (number := self.shared.number(value)) is not None:
                return ["same", number]
            self.shared.add(value)
            self.shared.number(value)
            return self.content(value)
        if kind in SCALARS:
            return [kind.__name__, *SCALARS[kind].parts(value)]
        if kind in FROZEN.values():
            return [TAGS[kind], self._all(value)]
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
        return [TAGS[kind], self._pairs(value) if kind in MAPPINGS.values() else self._all(value)]

    def _encode_other(self, value: Any, kind: type) -> Any:  # noqa: PLR0911 (one line per kind)
        if kind is self._opaque:
            return ["handle", self._handle(value)]
        if (name := self._classes.name(kind)) is not None and hasattr(value, "__dict__"):
            return self._instance(value, name)
        if kind in (dt.datetime, dt.time) and (value.tzinfo is None or type(value.tzinfo) is dt.timezone):
            return [kind.__name__, value.isoformat(), value.fold]
        if isinstance(value, tuple) and (fields := field_names(kind)) and len(fields) == len(value):
            return ["named", kind.__name__, list(fields), self._all(value)]
        if isinstance(value, dict):
            return ["loose", ["dict", self._pairs(value)]]
        for base in BASES:
            if isinstance(value, base):
                return ["loose", [TAGS[base], self._all(value)]]
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
                replace_attributes(container, dict(self._pairs(content)))
                return
            if tag != TAGS.get(type(container)):
                raise TypeError(f"a {tag} for a {type(container).__name__}")
            if tag == "bytearray":
                container[:] = bytes.fromhex(content)
                return
            new = self._pairs(content) if tag in MAPPINGS else self._all(content)
            container.clear()
            fill(container, new)
        except _INVALID as error:
            raise FrameError(f"not plain data: {error}") from None

    def _decode(self, data: Any) -> Any:  # noqa: C901, PLR0911, PLR0912 (one line per tag)
        if not isinstance(data, list):
            if isinstance(data, dict):
                raise TypeError("an object")
            return data
        tag, *rest = data
        self.unordered |= tag in ("set", "frozenset")
        if tag in SEQUENCES or tag in MAPPINGS:
            return self._container(tag, *rest)
        if tag in FROZEN:
            return FROZEN[tag](self._all(*rest))
        if tag in SCALARS_BY_TAG:
            return SCALARS_BY_TAG[tag].build(*rest)
        match tag:
            case "same":
                return self.shared.get(*rest)
            case "loose":
                self.loose = True
                return self._decode(*rest)
            case "named":
                name, fields, items = rest
                return named_tuple(str(name), tuple(fields))(*self._all(items))
            case "iterator":
                self.loose = True  # it was read before the tests ask for its items, and may be longer
                return iter(self._all(*rest))
            case "int":
                return parse_int(*rest)
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
            replace_attributes(pending.popleft(), dict(self._pairs(content)))
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

    def _container(self, tag: str, items: Any, *rest: Any) -> Any:
        if tag == "deque":
            container: Any = deque((), *rest)
        elif tag == "defaultdict":
            (name,) = rest
            container = defaultdict(None if name is None else FACTORIES[name])
        else:
            container = {**SEQUENCES, **MAPPINGS}[tag](*rest)
        self.shared.add(container)  # before its items: it may contain itself
        if tag == "bytearray":
            container.extend(bytes.fromhex(items))
        else:
            fill(container, self._pairs(items) if tag in MAPPINGS else self._all(items))
        return container

    def _all(self, items: Any) -> list[Any]:
        if not isinstance(items, list):
            raise TypeError("items that are no list")
        return [self._decode(item) for item in items]

    def _pairs(self, pairs: Any) -> list[tuple[Any, Any]]:
        return [(self._decode(key), self._decode(item)) for key, item in pairs]
