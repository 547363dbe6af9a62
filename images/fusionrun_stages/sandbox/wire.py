"""Protocol of the sandbox: requests of the judge, frames of JSON, and plain Python values in them.

Nothing is pickled. A value that is not plain data stays in its process; a number, its *handle*, represents it.
"""

import json
import math
import struct
from collections.abc import Callable, Iterator
from itertools import islice
from socket import socket
from typing import Any

PROBE, RUN, STOP, GONE = b"P", b"R", b"S", b"G"
"""Requests of the judge to the runner (see ``runner``)."""
FRAME_MAX_BYTES = 4 * 2**20
"""Maximum size of a message."""
ITERATOR_MAX_ITEMS = 100_000
"""Maximum items that are read from an iterator of the program."""
JSON_INT = 2**53
READY = {"ready": True}
"""First message of a candidate: it is confined, and the program starts."""
_LENGTH = struct.Struct(">I")


class FrameError(Exception):
    """A message that is too long, incomplete or not JSON."""


class EndOfStreamError(FrameError):
    """The other side has closed the channel."""


def send(channel: socket, message: Any) -> None:
    """Send one message."""
    body = json.dumps(message, separators=(",", ":")).encode()
    if len(body) > FRAME_MAX_BYTES:
        raise FrameError(f"a message of {len(body)} bytes")
    channel.sendall(_LENGTH.pack(len(body)) + body)


def receive(channel: socket) -> Any:
    """Receive one message; raise FrameError if it is too long or not JSON."""
    (length,) = _LENGTH.unpack(_read(channel, _LENGTH.size))
    if length > FRAME_MAX_BYTES:
        raise FrameError(f"a message of {length} bytes")
    try:
        return json.loads(_read(channel, length))
    except (ValueError, RecursionError) as error:
        raise FrameError(str(error)) from None


def _read(channel: socket, length: int) -> bytes:
    parts = bytearray()
    while len(parts) < length:
        part = channel.recv(min(65536, length - len(parts)))
        if not part:
            raise EndOfStreamError("closed")
        parts += part
    return bytes(parts)


def encode(value: Any, handle: Callable[[Any], int]) -> Any:  # noqa: C901, PLR0911 (one line per type)
    """Convert a value to JSON; types that JSON does not have become ``[tag, ...]``.

    Scalar types are compared exactly: a subclass may override ``__eq__``, so it is not plain data. Of any dictionary,
    tuple, list or set, the content is sent. ``handle`` returns the number of any other value.
    """
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value
    if kind is int:
        return value if -JSON_INT < value < JSON_INT else ["int", hex(value)]
    if kind is float:
        return value if math.isfinite(value) else ["float", repr(value)]
    if kind is complex:
        return ["complex", repr(value.real), repr(value.imag)]
    if kind is bytes:
        return ["bytes", value.hex()]
    if kind is range:
        return ["range", *(hex(part) for part in (value.start, value.stop, value.step))]
    if isinstance(value, dict):
        return ["dict", [[encode(k, handle), encode(v, handle)] for k, v in value.items()]]
    for tag, container in _CONTAINERS.items():
        if isinstance(value, container):
            return [tag, [encode(item, handle) for item in value]]
    if isinstance(value, Iterator):
        return ["iterator", [encode(item, handle) for item in islice(value, ITERATOR_MAX_ITEMS)]]
    return ["handle", handle(value)]


_CONTAINERS: dict[str, Any] = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}


def decode(data: Any, resolve: Callable[[int], Any]) -> Any:
    """Convert the output of ``encode`` to a value, and raise FrameError for other data.

    ``resolve`` returns the object of a handle.
    """
    try:
        return _decode(data, resolve)
    except (ValueError, TypeError, IndexError, KeyError, OverflowError, RecursionError) as error:
        raise FrameError(f"not plain data: {error}") from None


def _decode(data: Any, resolve: Callable[[int], Any]) -> Any:  # noqa: C901, PLR0911 (one line per tag)
    if not isinstance(data, list):
        if isinstance(data, dict):
            raise TypeError("an object")
        return data
    tag, *rest = data
    if tag in _CONTAINERS:
        return _CONTAINERS[tag](_decode(item, resolve) for item in rest[0])
    match tag:
        case "dict":
            return {_decode(k, resolve): _decode(v, resolve) for k, v in rest[0]}
        case "iterator":
            return iter([_decode(item, resolve) for item in rest[0]])
        case "int":
            return int(rest[0], 16)
        case "float":
            return float(rest[0])
        case "complex":
            return complex(float(rest[0]), float(rest[1]))
        case "bytes":
            return bytes.fromhex(rest[0])
        case "range":
            return range(*(int(part, 16) for part in rest))
        case "handle":
            return resolve(rest[0])
        case _:
            raise ValueError(f"tag {tag!r}")
