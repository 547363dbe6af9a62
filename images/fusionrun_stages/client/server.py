"""Send requests to one HTTP server, and try again what may pass: what a reply's status says of the next try."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import tenacity

from fusionrun.api.records import replace_surrogates
from fusionrun_stages.client.concurrency import Slots
from fusionrun_stages.errors import InfrastructureError, ServerWedgedError, UserError

SERVER_ERROR_ATTEMPTS = 8
"""So often one request is sent while the server answers 5xx to it; then its error is recorded."""
PASSING_ATTEMPTS = 3
"""So often one is sent while it times out, conflicts, or is answered 200 with something that is no answer."""
FORBIDDEN_ENOUGH = 16
"""So many requests in a row that are forbidden are taken for all: the key was withdrawn."""
REFUSED_STALLS = 6
"""For so many times ``stallSeconds`` a server may refuse all that it is asked as too much (429), and then the stage
ends: with the default that is an hour, longer than a limit per minute and shorter than one per day."""
WAIT_MAX_SECONDS = 30.0
CONNECT_SECONDS = 30.0
ERROR_CHARACTERS = 500

HTTP_TOO_MANY = 429
HTTP_BAD_REQUEST = 400
HTTP_SERVER_ERROR = 500
HTTP_OVERLOADED = 503
SPENT = "insufficient_quota"
"""Code of a 429 that no waiting helps. Source: OpenAI, API error codes."""
UNAVAILABLE = frozenset({502, 503, 504})
"""A server that starts, or a proxy before it: asked until the heartbeat gives it up."""
PASSING = frozenset({408, 409})
"""Of this try alone: a request that timed out, or met another. Source: RFC 9110, 15.5."""
REFUSED = frozenset({401, 404, 405})
"""Statuses that every request would get: a wrong key, model or path."""
HTTP_FORBIDDEN = 403
"""A key that may not do this, or one prompt that a moderation refuses: the answers of others tell which."""

Body = dict[str, Any]


class TryAgain(Exception):  # noqa: N818 - it is a request, not an error
    """A reply that may be another one later; ``after`` is what the server asks to wait, in seconds."""

    def __init__(self, status: int, text: str, after: float | None = None) -> None:
        self.status = status
        self.after = after
        super().__init__(f"{status}: {text}" if status else text)


@dataclass
class Heartbeat:
    """When the server last showed that it works."""

    last: float = field(default_factory=time.monotonic)
    answered: float = field(default_factory=time.monotonic)
    """When it last answered, or when it was first asked."""
    refusals: int = 0
    """Requests that were too much for it since then."""
    answers: int = 0

    def answer(self) -> None:
        """Note an answer."""
        self.answers += 1
        self.refusals = 0
        self.answered = time.monotonic()
        self.beat()

    def beat(self, ahead_seconds: float = 0.0) -> None:
        """Note that the server works, or that it asked to be left alone for a while."""
        self.last = max(self.last, time.monotonic() + ahead_seconds)

    @property
    def silent_seconds(self) -> float:
        """For how long the server has shown nothing."""
        return time.monotonic() - self.last


@dataclass
class Tries:
    """What a request has met so far: each kind of failure has a count of its own."""

    server_errors: int = 0
    passing: int = 0
    forbidden: int = 0


class Server:
    """One server, asked by at most ``slots`` requests at once. Closed by ``close``."""

    def __init__(self, base_url: str, api_key: str | None, slots: Slots, connections: int) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        # No limit on reading: a long answer in a long queue is no failure; the heartbeat watches the server.
        timeout = httpx.Timeout(None, connect=CONNECT_SECONDS)
        self._client = httpx.AsyncClient(base_url=base_url.rstrip("/"), headers=headers, limits=limits, timeout=timeout)
        self.slots = slots
        self.heartbeat = Heartbeat()
        self.sent = Counter[int]()
        """Requests by HTTP status; 0 had no reply."""
        self._forbidden = 0
        """Requests that were forbidden since the last answer."""

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def url(self, path: str) -> httpx.URL:
        """Return the address of a path of this server, from its root."""
        return self._client.base_url.join(path)

    async def ask(
        self,
        path: str,
        body: Callable[[], Body],
        learn: Callable[[httpx.Response, Body], bool] | None = None,
        is_answer: Callable[[httpx.Response], bool] = lambda _: True,
    ) -> httpx.Response:
        """Send a request until its reply is one that no other try would change, and return that.

        Parameters
        ----------
        path
            Under the base URL.
        body
            Makes what is sent, before each try.
        learn
            Tells of a refused request whether ``body`` now makes one that may be answered.
        is_answer
            Tells of a reply that is no error whether it says what was asked for; one that does not may be a proxy's.

        Raises
        ------
        UserError
            If the server refuses every request of ours: a wrong key, model or path.
        """
        retrying = tenacity.AsyncRetrying(retry=tenacity.retry_if_exception_type(TryAgain), wait=_wait, reraise=True)
        tries = Tries()
        async for attempt in retrying:
            with attempt:
                asked = body()
                reply = await self._post(path, asked)
                self._judge(reply, tries)
                if reply.status_code < HTTP_BAD_REQUEST and not is_answer(reply):
                    tries.passing += 1
                    if tries.passing < PASSING_ATTEMPTS:
                        raise TryAgain(0, f"no answer: {reply.text[:ERROR_CHARACTERS]}")
                if reply.status_code >= HTTP_BAD_REQUEST and learn is not None and learn(reply, asked):
                    raise TryAgain(reply.status_code, message(reply))
        if reply.status_code < HTTP_BAD_REQUEST:
            self._forbidden = 0
            self.heartbeat.answer()
        else:
            self.heartbeat.beat()
        await self.slots.answered()
        return reply

    async def _post(self, path: str, asked: Body) -> httpx.Response:
        try:
            reply = await self._client.post(path, json=asked)
        except httpx.TransportError as error:
            self.sent[0] += 1
            raise TryAgain(0, f"{type(error).__name__}: {error}") from error
        self.sent[reply.status_code] += 1
        if reply.status_code in (HTTP_TOO_MANY, HTTP_OVERLOADED):
            await self.slots.refused()
        return reply

    def _judge(self, reply: httpx.Response, tries: Tries) -> None:
        """Raise when a reply is not the last word on its request, or when it is that on every other, too."""
        status, after = reply.status_code, _retry_after(reply)
        if status == HTTP_TOO_MANY and SPENT in reply.text:
            raise UserError(f"{reply.request.url} answered {status}: {message(reply)}")
        if status == HTTP_TOO_MANY or (status == HTTP_OVERLOADED and after is not None):
            self.heartbeat.refusals += 1
            self.heartbeat.beat(after or 0.0)
            raise TryAgain(status, message(reply), after)
        tries.server_errors += status >= HTTP_SERVER_ERROR and status not in UNAVAILABLE
        tries.passing += status in PASSING
        if (
            status in UNAVAILABLE
            or (status >= HTTP_SERVER_ERROR and tries.server_errors < SERVER_ERROR_ATTEMPTS)
            or (status in PASSING and tries.passing < PASSING_ATTEMPTS)
        ):
            raise TryAgain(status, message(reply), after)
        if status == HTTP_FORBIDDEN:
            self._judge_forbidden(reply, tries)
        if status in REFUSED:
            raise UserError(f"{reply.request.url} answered {status}: {message(reply)}")

    def _judge_forbidden(self, reply: httpx.Response, tries: Tries) -> None:
        """Take one forbidden request for a moderation's doing where others are answered, and many for the key's."""
        tries.forbidden += 1
        if not self.heartbeat.answers and tries.forbidden < SERVER_ERROR_ATTEMPTS:
            raise TryAgain(reply.status_code, message(reply))  # by then others may be answered
        self._forbidden += 1
        if not self.heartbeat.answers or self._forbidden >= FORBIDDEN_ENOUGH:
            raise UserError(f"{reply.request.url} answered {reply.status_code}: {message(reply)}")


async def watch(
    heartbeat: Heartbeat, stall_seconds: float, lacking: str, count: Callable[[], Awaitable[float | None]] | None = None
) -> None:
    """Return never; raise when the server is wedged.

    A server that computes long answers is silent, too: before it is given up, its own ``count`` is asked. Behind one
    address may be several servers, and each question may reach another: only a count that nobody has told before is a
    sign of life.

    Raises
    ------
    ServerWedgedError
        If the heartbeat was silent for ``stall_seconds``; the message names what was ``lacking``.
    InfrastructureError
        If the server refuses all requests as too much for ``REFUSED_STALLS`` times as long.
    """
    counted = {await count()} if count else set[float | None]()
    while True:
        await asyncio.sleep(min(15.0, stall_seconds / 4))
        unanswered = time.monotonic() - heartbeat.answered
        if heartbeat.refusals and unanswered > REFUSED_STALLS * stall_seconds:
            raise InfrastructureError(
                f"{lacking} for {unanswered:.0f} s: {heartbeat.refusals} requests were refused as too many (429), a "
                "limit of the endpoint's; what was answered is stored, and the next try goes on from there"
            )
        if heartbeat.silent_seconds < stall_seconds / 2:
            continue
        now = await count() if count else None
        if now is not None and now not in counted:
            counted.add(now)
            heartbeat.beat()
        elif heartbeat.silent_seconds > stall_seconds:
            raise ServerWedgedError(f"server wedged: {lacking} for {heartbeat.silent_seconds:.0f} s")


def _wait(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, TryAgain):
        if error.after is not None:
            return error.after
        if error.status == HTTP_BAD_REQUEST:
            return 0.0
    return float(tenacity.wait_random_exponential(multiplier=0.5, max=WAIT_MAX_SECONDS)(state))


def _retry_after(reply: httpx.Response) -> float | None:
    """Return the seconds that a Retry-After header asks for: a number or a date. Source: RFC 9110, 10.2.3."""
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


def message(reply: httpx.Response) -> str:
    """Return the message of an OpenAI-style error, else the start of the text."""
    try:
        value = reply.json()
        error = value.get("error", value)
        text = str(error["message"] if isinstance(error, dict) else error)
        return replace_surrogates(text[:ERROR_CHARACTERS])
    except (ValueError, KeyError, AttributeError, TypeError):
        return str(reply.text[:ERROR_CHARACTERS])
