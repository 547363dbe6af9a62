"""The operator's ports, with limits on their connections: no peer can use up its open files, memory or time.

A connection is checked when it is accepted, serves one request, and has a deadline for all of it.
"""

import asyncio
import contextlib
import resource
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from aiohttp import web

from fusionrun.progress import address_of

BACKLOG = 64
"""Connections of a port that are accepted in one step, before any of them is checked."""


@dataclass(frozen=True)
class Limits:
    """The limits of one port."""

    connections: int
    """At this number, each new connection closes the oldest one."""
    per_address: int
    """Connections of one address; more are refused."""
    seconds: float
    """Time from the start of a connection to its end."""
    received_bytes: int = 65536
    """Bytes that a connection may send."""


def raise_open_files() -> None:
    """Allow as many open files as the system does: container runtimes set a soft limit of 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextlib.asynccontextmanager
async def serving(
    application: web.Application, port: int, limits: Limits, admits: Callable[[str], bool] = lambda _: True
) -> AsyncIterator[int]:
    """Serve an application on a port, 0 for any free one; yield it. ``admits`` tells whether an address may connect."""
    application.on_response_prepare.append(_close_after_reply)
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    connections = _Connections(runner.server, limits, admits)
    server = await asyncio.get_running_loop().create_server(
        lambda: _Connection(connections),
        "0.0.0.0",  # noqa: S104 -- a pod has one address
        port,
        backlog=BACKLOG,
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await runner.cleanup()


async def _close_after_reply(_: web.Request, response: web.StreamResponse) -> None:
    response.force_close()
    response.headers["Connection"] = "close"  # the headers have been prepared before this signal


class _Connections:
    """The open connections of one port, the oldest first."""

    def __init__(
        self, make_handler: Callable[[], asyncio.Protocol] | None, limits: Limits, admits: Callable[[str], bool]
    ) -> None:
        assert make_handler is not None  # AppRunner.setup has created it
        self.make_handler, self.limits = make_handler, limits
        self._admits = admits
        self._open: dict[_Connection, str] = {}
        self._by_address: Counter[str] = Counter()

    def add(self, connection: "_Connection", address: str) -> bool:
        """Add a connection, or return False if it must be closed."""
        if self._by_address[address] >= self.limits.per_address or not self._admits(address):
            return False
        if len(self._open) >= self.limits.connections:
            oldest = next(iter(self._open))
            self.remove(oldest)
            oldest.abort()
        self._open[connection] = address
        self._by_address[address] += 1
        return True

    def remove(self, connection: "_Connection") -> None:
        """Remove a connection that has ended."""
        address = self._open.pop(connection, None)
        if address is not None:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]


class _Connection(asyncio.Protocol):
    """Passes what happens on an admitted connection on to aiohttp."""

    def __init__(self, connections: _Connections) -> None:
        self._connections = connections
        self._transport: asyncio.Transport | None = None
        self._handler: asyncio.Protocol | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._received = 0

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        peer = transport.get_extra_info("peername")
        if not self._connections.add(self, address_of(peer[0]) if peer else ""):
            transport.abort()
            return
        limits = self._connections.limits
        self._deadline = asyncio.get_running_loop().call_later(limits.seconds, transport.abort)
        self._handler = self._connections.make_handler()
        self._handler.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.remove(self)
        if self._deadline is not None:
            self._deadline.cancel()
        if self._handler is not None:
            self._handler.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > self._connections.limits.received_bytes:
            self.abort()
        elif self._handler is not None:
            self._handler.data_received(data)

    def eof_received(self) -> bool | None:
        return self._handler.eof_received() if self._handler is not None else None

    def pause_writing(self) -> None:
        if self._handler is not None:
            self._handler.pause_writing()

    def resume_writing(self) -> None:
        if self._handler is not None:
            self._handler.resume_writing()
