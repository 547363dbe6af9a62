"""The endpoint to which pods push their progress. ``state.report.stage_status`` says what depends on it.

A pod needs no token. It is identified by its IP address, which must be that of a running pod with the labels of a run;
the run, stage and index are read from the pod and not from the request.
"""

import asyncio
import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from aiohttp import web
from pydantic import ValidationError

from fusionrun.api.contract import Manifest
from fusionrun.api.pod import COMPLETION_INDEX_ANNOTATION, PROGRESS_PATH
from fusionrun.api.results.result import Progress
from fusionrun.api.spec.data import SHARDS_MAX
from fusionrun.names import LABEL_RUN, LABEL_STAGE, stage_from_label
from fusionrun.state.observe.live_objects import PushedProgress
from fusionrun.state.observe.object_ref import ObjectRef, run_ref

BODY_MAX_BYTES = 4096
BODY_SECONDS = 5.0
"""Timeout for reading a request body."""
PUSH_MIN_SECONDS = 0.5
"""Shortest time between two requests of one pod; the second one is rejected with 429."""

_ACCEPTED, _FORBIDDEN = 204, 403


class ProgressBoard:
    """The latest progress of each pod, by run, stage and index."""

    def __init__(self) -> None:
        self._pushed: dict[ObjectRef, dict[tuple[str, int], PushedProgress]] = {}

    def of(self, run: ObjectRef) -> dict[tuple[str, int], PushedProgress]:
        """Return the latest progress of the pods of a run, by stage and index."""
        return self._pushed.get(run, {})

    def put(self, run: ObjectRef, stage: str, index: int, pod: str, progress: Progress) -> bool:
        """Store the progress of the pod with a UID; return whether it is the first of its stage."""
        pushed, now = self._pushed.setdefault(run, {}), datetime.now(UTC)
        first, old = all(name != stage for name, _ in pushed), pushed.get((stage, index))
        if old is None or old.pod != pod:
            old = PushedProgress(progress, now, pod, progress.done, now)
        pushed[stage, index] = replace(old, progress=progress, at=now)
        return first

    def forget(self, run: ObjectRef) -> None:
        """Forget a deleted run."""
        self._pushed.pop(run, None)


@dataclass(frozen=True)
class ProgressReceiver:
    """The HTTP endpoint."""

    board: ProgressBoard
    pod_at: Callable[[str], Manifest | None]
    """Returns the running pod with an IP address."""
    get: Callable[[ObjectRef], Manifest | None]
    """Returns an object, or None if it does not exist."""
    pushed: Callable[[ObjectRef, bool], None]
    """Called with every run that has new progress, and whether it is the first of its stage."""
    replied: Callable[[int], None]
    """Called with the HTTP status of every reply."""
    _last_push: dict[str, float] = field(default_factory=dict)
    """Monotonic time of the last request of each pod, by UID."""

    def admits(self, address: str) -> bool:
        """Return whether an address may connect: that of a running pod with the labels of a run."""
        known = self._pod(address) is not None
        if not known:
            self.replied(_FORBIDDEN)
        return known

    def application(self) -> web.Application:
        """Return the web application."""
        application = web.Application(client_max_size=BODY_MAX_BYTES)
        application.router.add_post(PROGRESS_PATH, self._receive)
        return application

    async def _receive(self, request: web.Request) -> web.Response:
        try:
            sender = self._sender(request.remote or "")
            code, text = self._accept(sender, await _body(request))
        except _Rejected as rejected:
            code, text = rejected.code, rejected.text
        self.replied(code)
        response = web.Response(status=code, text=text or None)
        if code != _ACCEPTED:
            response.force_close()  # do not read the rest of the body
        return response

    def _sender(self, remote: str) -> "_Sender":
        """Return the sender with an IP address, before the body is read."""
        pod = self._pod(address_of(remote))
        if pod is None:
            raise _Rejected(_FORBIDDEN, "this address does not belong to a running pod of a FusionRun")
        labels = pod["metadata"]["labels"]
        run = run_ref(pod["metadata"]["namespace"], labels[LABEL_RUN])
        if self.get(run) is None:
            raise _Rejected(404, f"no FusionRun {run.namespace}/{run.name}")
        text = (pod["metadata"].get("annotations") or {}).get(COMPLETION_INDEX_ANNOTATION, "0")
        if not (text.isascii() and text.isdigit() and len(text) <= len(str(SHARDS_MAX)) and int(text) < SHARDS_MAX):
            rule = f"must be an integer from 0 to {SHARDS_MAX - 1}"
            raise _Rejected(400, f"annotation {COMPLETION_INDEX_ANNOTATION}: {text[:32]!r}: {rule}")
        now, uid = time.monotonic(), pod["metadata"]["uid"]
        for old in [uid for uid, at in self._last_push.items() if now - at >= PUSH_MIN_SECONDS]:
            del self._last_push[old]
        if uid in self._last_push:
            raise _Rejected(429, f"at most one request per {PUSH_MIN_SECONDS} seconds")
        self._last_push[uid] = now
        return _Sender(run, stage_from_label(labels[LABEL_STAGE]), int(text), uid)

    def _pod(self, address: str) -> Manifest | None:
        """Return the running pod with an address and the labels of a run, or None."""
        pod = self.pod_at(address)
        labels = (pod["metadata"].get("labels") or {}) if pod else {}
        return pod if LABEL_RUN in labels and LABEL_STAGE in labels else None

    def _accept(self, sender: "_Sender", body: bytes) -> tuple[int, str]:
        """Store the progress in a body; return the HTTP status and text of the reply."""
        try:
            progress = Progress.model_validate_json(body)
        except ValidationError as error:
            return 400, str(error)
        if self.get(sender.run) is not None:  # it may have been deleted while the body arrived
            self.pushed(sender.run, self.board.put(sender.run, sender.stage, sender.index, sender.pod, progress))
        return _ACCEPTED, ""


@dataclass(frozen=True)
class _Sender:
    """The run, stage, completion index and UID of a pod."""

    run: ObjectRef
    stage: str
    index: int
    pod: str


class _Rejected(Exception):  # noqa: N818 -- a reply, not an error of the operator
    """A rejected request, with the HTTP status and text of the reply."""

    def __init__(self, code: int, text: str) -> None:
        self.code, self.text = code, text
        super().__init__(text)


async def _body(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body: bytes = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise _Rejected(413, f"a body has at most {BODY_MAX_BYTES} bytes") from None
    except TimeoutError:
        raise _Rejected(408, f"the body did not arrive within {BODY_SECONDS:g} seconds") from None
    return body


def address_of(remote: str) -> str:
    """Return the address of a peer; that of an IPv4-mapped one is its IPv4 address."""
    try:
        address = ipaddress.ip_address(remote)
    except ValueError:
        return remote
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
