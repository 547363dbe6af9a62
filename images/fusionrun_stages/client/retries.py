"""A client of one HTTP server that retries requests with transient failures and stops at fatal ones."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import tenacity

from fusionrun.api.records import replace_surrogates
from fusionrun_stages.client.concurrency import ConcurrencyLimit
from fusionrun_stages.client.connections import Connections
from fusionrun_stages.client.heartbeat import Heartbeat
from fusionrun_stages.client.reachability import Reachability
from fusionrun_stages.errors import UserError

SERVER_ERROR_ATTEMPTS = 8
"""Number of 5xx replies to one request after which its error is recorded."""
TRANSIENT_ATTEMPTS = 3
"""Number of transient failures of one request (``TRANSIENT``, or a 200 without the expected content) after which its
error is recorded."""
FORBIDDEN_MAX = 16
"""Number of 403 replies in a row after which the stage fails: the key was revoked."""
WAIT_MAX_SECONDS = 30.0
UNREACHABLE_MAX_SECONDS = 1.0
"""Longest wait after a request that did not reach a server of the run; the next one waits until the server replies."""
CHECK_TIMEOUT_SECONDS = 10.0
REQUESTS_PER_CONNECTION = 16
"""Requests after which a connection to a server of the run is closed. kube-proxy selects a replica for each connection,
so a replica that becomes Ready later gets its share. Source: Kubernetes, "Virtual IPs and Service Proxies"."""
ERROR_CHARACTERS = 500
REPLY_MAX_BYTES = 2**20
"""Default limit of a reply. The rest of a longer one is not read, so it is not a valid reply."""

CONTENT_HEADERS = ("content-encoding", "content-length", "transfer-encoding")
"""Headers that no longer describe a content that was decoded, or cut at its limit."""
HTTP_TOO_MANY = 429
HTTP_BAD_REQUEST = 400
HTTP_SERVER_ERROR = 500
HTTP_OVERLOADED = 503
QUOTA_EXCEEDED = "insufficient_quota"
"""Code of a 429 that is not retried. Source: OpenAI, API error codes."""
UNAVAILABLE = frozenset({502, 503, 504})
"""The server is starting, or its proxy cannot reach it: retried until the server counts as stalled."""
TRANSIENT = frozenset({408, 409})
"""Request timeout and conflict. Source: RFC 9110, 15.5."""
FATAL = frozenset({401, 404, 405})
"""Wrong key, model or path: every request would get the same reply."""
HTTP_FORBIDDEN = 403
"""The key lacks the permission, or content moderation rejected one prompt: replies to other requests show which."""

Body = dict[str, Any]


class RetryableError(Exception):
    """A failed attempt that is retried; ``after`` is the server's Retry-After in seconds."""

    def __init__(self, status: int, text: str, after: float | None = None) -> None:
        self.status = status
        self.after = after
        super().__init__(f"{status}: {text}" if status else text)


@dataclass
class FailureCounts:
    """Failures of one request so far, by kind."""

    server_errors: int = 0
    transient: int = 0
    forbidden: int = 0
    unreachable: bool = False
    """Whether the last attempt did not reach the server."""


class RetryingClient:
    """A client of one server. The caller limits the requests in flight and calls ``close`` at the end.

    ``own``: whether it is a server of the run. It may have replicas, of which each connection reaches one, and the
    *_PROXY and SSL_CERT_* variables do not apply.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None,
        concurrency: ConcurrencyLimit,
        connections: int,
        reply_max_bytes: int = REPLY_MAX_BYTES,
        *,
        own: bool = False,
    ) -> None:
        self._reachability = Reachability(self._replies) if own else None
        self._connections = Connections(base_url.rstrip("/"), api_key, connections, trust_env=not own)
        self._reply_max_bytes = reply_max_bytes
        self._own = own
        self._requests = 0
        self.concurrency = concurrency
        self.heartbeat = Heartbeat()
        self.sent = Counter[int]()
        """Requests by HTTP status; 0: no reply."""
        self._forbidden = 0
        """403 replies since the last success."""

    async def close(self) -> None:
        """Close the connections."""
        if self._reachability:
            self._reachability.close()
        await self._connections.close()

    def url(self, path: str) -> httpx.URL:
        """Return the URL of a path, relative to the base URL unless it is absolute."""
        return self._connections.url(path)

    async def post(
        self,
        path: str,
        make_body: Callable[[], Body],
        adjust: Callable[[httpx.Response, Body], bool] | None = None,
        is_valid: Callable[[httpx.Response], bool] = lambda _: True,
    ) -> httpx.Response:
        """Send a request until its reply is final, and return that reply.

        Parameters
        ----------
        path
            Relative to the base URL.
        make_body
            Returns the body; called before each attempt.
        adjust
            Called with a 4xx or 5xx reply and the body; returns whether ``make_body`` now returns a body that may
            succeed.
        is_valid
            Returns whether a successful reply has the expected content, unlike the page of a proxy.

        Raises
        ------
        UserError
            If the server would reject every request: wrong key, model or path.
        """
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(RetryableError), wait=self._wait, reraise=True
        )
        failures = FailureCounts()
        async for attempt in retrying:
            with attempt:
                if failures.unreachable and self._reachability:
                    await self._reachability.wait()
                body = make_body()
                failures.unreachable = True
                reply = await self._post(path, body)
                failures.unreachable = reply.status_code in UNAVAILABLE
                self._raise_unless_final(reply, failures)
                if reply.status_code < HTTP_BAD_REQUEST and not is_valid(reply):
                    failures.transient += 1
                    if failures.transient < TRANSIENT_ATTEMPTS:
                        raise RetryableError(0, f"unexpected reply: {reply.text[:ERROR_CHARACTERS]}")
                if reply.status_code >= HTTP_BAD_REQUEST and adjust is not None and adjust(reply, body):
                    raise RetryableError(reply.status_code, error_message(reply))
        if reply.status_code < HTTP_BAD_REQUEST:
            self._forbidden = 0
            self.heartbeat.on_success()
        else:
            self.heartbeat.beat()
        await self.concurrency.on_reply()
        return reply

    async def _post(self, path: str, body: Body) -> httpx.Response:
        self._requests += 1
        closes = self._own and self._requests % REQUESTS_PER_CONNECTION == 0
        headers = {"Connection": "close"} if closes else None
        try:
            async with (
                self._connections.take() as http,
                http.stream("POST", self.url(path), json=body, headers=headers) as stream,
            ):
                reply = await self._read(stream)
        except (httpx.TransportError, httpx.DecodingError) as error:
            self.sent[0] += 1
            raise RetryableError(0, f"{type(error).__name__}: {error}") from error
        self.sent[reply.status_code] += 1
        if reply.status_code in (HTTP_TOO_MANY, HTTP_OVERLOADED):
            await self.concurrency.on_overload()
        return reply

    async def _read(self, stream: httpx.Response) -> httpx.Response:
        """Return a reply with at most ``reply_max_bytes`` of its content."""
        content = bytearray()
        async for piece in stream.aiter_bytes():
            content += piece
            if len(content) > self._reply_max_bytes:
                break
        headers = [(name, value) for name, value in stream.headers.items() if name not in CONTENT_HEADERS]
        return httpx.Response(
            stream.status_code, headers=headers, content=bytes(content[: self._reply_max_bytes]), request=stream.request
        )

    def _wait(self, state: tenacity.RetryCallState) -> float:
        """Return the seconds until the next attempt of a request."""
        error = state.outcome.exception() if state.outcome else None
        longest = WAIT_MAX_SECONDS
        if isinstance(error, RetryableError):
            if error.after is not None:
                return error.after
            if error.status == HTTP_BAD_REQUEST:
                return 0.0
            if self._reachability and error.status in (0, *UNAVAILABLE):
                longest = min(longest, UNREACHABLE_MAX_SECONDS)
        return float(tenacity.wait_random_exponential(multiplier=0.5, max=longest)(state))

    async def _replies(self) -> bool:
        """Return whether a server of the run replies, on a connection of its own: all others may be in use."""
        try:
            async with self._connections.open() as http:
                reply = await http.get(self.url("/health"), timeout=CHECK_TIMEOUT_SECONDS)
                return reply.status_code not in UNAVAILABLE
        except httpx.HTTPError:
            return False

    def _raise_unless_final(self, reply: httpx.Response, failures: FailureCounts) -> None:
        """Raise RetryableError if a retry may change the reply, UserError if every request would get it."""
        status, after = reply.status_code, _retry_after(reply)
        if status == HTTP_TOO_MANY and QUOTA_EXCEEDED in reply.text:
            raise rejected(reply)
        if status == HTTP_TOO_MANY or (status == HTTP_OVERLOADED and after is not None):
            self.heartbeat.rate_limited += 1
            self.heartbeat.beat(after or 0.0)
            raise RetryableError(status, error_message(reply), after)
        failures.server_errors += status >= HTTP_SERVER_ERROR and status not in UNAVAILABLE
        failures.transient += status in TRANSIENT
        if (
            status in UNAVAILABLE
            or (status >= HTTP_SERVER_ERROR and failures.server_errors < SERVER_ERROR_ATTEMPTS)
            or (status in TRANSIENT and failures.transient < TRANSIENT_ATTEMPTS)
        ):
            raise RetryableError(status, error_message(reply), after)
        if status == HTTP_FORBIDDEN:
            self._raise_if_key_is_forbidden(reply, failures)
        if status in FATAL:
            raise rejected(reply)

    def _raise_if_key_is_forbidden(self, reply: httpx.Response, failures: FailureCounts) -> None:
        """Attribute a 403 to content moderation if other requests succeed, else to the key."""
        failures.forbidden += 1
        if not self.heartbeat.successes and failures.forbidden < SERVER_ERROR_ATTEMPTS:
            raise RetryableError(reply.status_code, error_message(reply))  # another request may succeed meanwhile
        self._forbidden += 1
        if not self.heartbeat.successes or self._forbidden >= FORBIDDEN_MAX:
            raise rejected(reply)


def rejected(reply: httpx.Response) -> UserError:
    """Return the error of a request that the server rejects."""
    return UserError(f"{reply.request.url} answered {reply.status_code}: {error_message(reply)}")


def error_message(reply: httpx.Response) -> str:
    """Return the message of an OpenAI-style error, else the start of the text."""
    try:
        value = reply.json()
        error = value.get("error", value)
        text = str(error["message"] if isinstance(error, dict) else error)
        return replace_surrogates(text[:ERROR_CHARACTERS])
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return str(reply.text[:ERROR_CHARACTERS])


def _retry_after(reply: httpx.Response) -> float | None:
    """Return the seconds of a Retry-After header, which is a number or a date. Source: RFC 9110, 10.2.3."""
    text = reply.headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None
