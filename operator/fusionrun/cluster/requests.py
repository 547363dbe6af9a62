"""Sends requests to the API server: each is measured, and every failure is a ``ClusterError``."""

import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from kubernetes.aio.client import ApiException

from fusionrun.api.contract import Manifest
from fusionrun.errors import ClusterError

REQUEST_TIMEOUT_SECONDS = 30.0
CONNECTION_ERRORS = (aiohttp.ClientError, TimeoutError, OSError)

_OK, _CREATED, _NOT_FOUND = 200, 201, 404

Observe = Callable[[str, str, int, float], None]
"""Called after every request with its verb, kind, HTTP status (0 without a reply) and seconds."""


class Requests:
    """Requests to one API server."""

    def __init__(self, observe: Observe) -> None:
        self._observe = observe

    async def send(self, verb: str, kind: str, name: str, reply: Awaitable[Manifest]) -> Manifest:
        """Send a request and return its reply.

        Raises
        ------
        ClusterError
            With the status of the reply, or 0 if there was none.
        """
        started = time.monotonic()
        status = 0
        try:
            response = await reply
        except ApiException as error:
            status = error.status or 0
            raise ClusterError(verb, kind, name, status, _message(error)) from error
        except CONNECTION_ERRORS as error:
            raise ClusterError(verb, kind, name, 0, str(error) or type(error).__name__) from error
        else:
            status = _CREATED if verb == "create" else _OK
            return response
        finally:
            self._observe(verb, kind, status, time.monotonic() - started)

    async def send_or_none(self, verb: str, kind: str, name: str, reply: Awaitable[Manifest]) -> Manifest | None:
        """Send a request and return its reply; return None for status 404."""
        try:
            return await self.send(verb, kind, name, reply)
        except ClusterError as error:
            if error.status != _NOT_FOUND:
                raise
            return None


def plain() -> dict[str, Any]:
    """Return the options of a request of the Kubernetes client whose reply is plain data."""
    return {
        "serializer": lambda _client, data: data,
        "_request_timeout": aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_SECONDS),
    }


def _message(error: ApiException) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason or "")
