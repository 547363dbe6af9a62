"""Protocol of the sandbox: requests of the judge, and frames of JSON. ``values`` converts Python values.

Nothing is pickled.
"""

import json
import struct
from socket import socket
from typing import Any

PROBE, RUN, STOP, GONE = b"P", b"R", b"S", b"G"
"""Requests of the judge to the runner (see ``runner``)."""
FRAME_MAX_BYTES = 4 * 2**20
"""Maximum size of a message."""
REQUEST_MAX_BYTES = 32 * 2**20
"""Maximum size of a request to a program: benchmarks have inputs of several MiB. Replies are smaller, since the test
process has less memory."""
READY = {"ready": True}
"""First message of a candidate: it is confined, and waits for the program."""
_LENGTH = struct.Struct(">I")


class FrameError(Exception):
    """A message that is too long, incomplete or not JSON."""


class EndOfStreamError(FrameError):
    """The other side has closed the channel."""


def send(channel: socket, message: Any, max_bytes: int = FRAME_MAX_BYTES) -> None:
    """Send one message."""
    body = json.dumps(message, separators=(",", ":")).encode()
    if len(body) > max_bytes:
        raise FrameError(f"a message of {len(body)} bytes")
    channel.sendall(_LENGTH.pack(len(body)) + body)


def receive(channel: socket, max_bytes: int = FRAME_MAX_BYTES) -> Any:
    """Receive one message; raise FrameError if it is too long or not JSON."""
    (length,) = _LENGTH.unpack(_read(channel, _LENGTH.size))
    if length > max_bytes:
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
