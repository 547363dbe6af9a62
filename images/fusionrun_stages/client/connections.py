"""Connections to one server, one per request in flight.

Each has a client of its own: the pool of a shared one visits all of its connections at the start and at the end of
every request, which took a third of the time of a request with 32 in flight. Source: httpcore 1.0,
``AsyncConnectionPool._assign_requests_to_connections``.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

CONNECT_SECONDS = 30.0


class Connections:
    """Up to ``maximum`` connections; ``trust_env``: whether the *_PROXY and SSL_CERT_* variables apply."""

    def __init__(self, base_url: str, api_key: str | None, maximum: int, *, trust_env: bool) -> None:
        self._base_url = httpx.URL(base_url.rstrip("/") + "/")
        self._urls: dict[str, httpx.URL] = {}
        # Uncompressed: a compressed reply of a few KiB may be as long as the memory when it is read.
        self._headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {api_key}"} if api_key else {})
        self._trust_env = trust_env
        self._context = httpx.create_ssl_context(trust_env=trust_env)  # to load the certificates takes 0.1 s
        self._free = asyncio.Semaphore(maximum)
        self._idle: list[httpx.AsyncClient] = []

    def url(self, path: str) -> httpx.URL:
        """Return the URL of a path, relative to the base URL unless it is absolute."""
        if path not in self._urls:  # httpx takes 0.1 ms to join them
            self._urls[path] = self._base_url.join(path)
        return self._urls[path]

    @asynccontextmanager
    async def take(self) -> AsyncIterator[httpx.AsyncClient]:
        """Wait for a connection; the one that was used last is the likeliest to be open."""
        async with self._free:
            client = self._idle.pop() if self._idle else self.open()
            try:
                yield client
            finally:
                self._idle.append(client)

    async def close(self) -> None:
        """Close all connections; no request may be in flight."""
        for client in self._idle:
            await client.aclose()

    def open(self) -> httpx.AsyncClient:
        """Return a connection of its own, beside the ``maximum``; the caller closes it."""
        return httpx.AsyncClient(
            headers=self._headers,
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1),
            # No read timeout: a long response may wait in a long queue. The heartbeat detects a stalled server.
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
            trust_env=self._trust_env,
            verify=self._context,
        )
