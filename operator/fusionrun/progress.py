"""The endpoint at which pods push their progress: small, advisory, and trusted for nothing else.

A pod needs no token for it: it is known by its address, which must be that of a living pod with our labels. What it
may say is a ``Progress``; where it belongs (run, stage, index) is read from the pod, never from what it says.
"""

import asyncio
import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from aiohttp import web
from pydantic import ValidationError

from fusionrun.api.data import SHARDS_MAX
from fusionrun.api.models import Manifest
from fusionrun.api.result import Progress
from fusionrun.names import API_VERSION, KIND, LABEL_RUN, LABEL_STAGE, stage_from_label
from fusionrun.state.observe.live_objects import PushedProgress
from fusionrun.state.observe.object_ref import ObjectRef

PATH = "/v1/progress"
BODY_MAX_BYTES = 4096
BODY_SECONDS = 5.0
"""Longest time that a body may take to arrive."""
PUSH_MIN_SECONDS = 0.5
"""Least time between two pushes of one pod; the second is refused with 429."""

ANNOTATION_INDEX = "batch.kubernetes.io/job-completion-index"
"""Source: Kubernetes, Indexed Job: the completion index as an annotation of its pods."""


class ProgressBoard:
    """What pods pushed last, by run, stage and index.

    Parameters
    ----------
    pod_at
        Finds the living pod with an address.
    exists
        Whether there is such a run.
    poke
        Told of every run that has news.
    count
        Told of the HTTP status of every reply.
    """

    def __init__(
        self,
        pod_at: Callable[[str], Manifest | None],
        exists: Callable[[ObjectRef], bool],
        poke: Callable[[ObjectRef], None],
        count: Callable[[int], None],
    ) -> None:
        self._pod_at = pod_at
        self._exists = exists
        self._poke = poke
        self._count = count
        self._pushed: dict[ObjectRef, dict[tuple[str, int], PushedProgress]] = {}
        self._last: dict[str, float] = {}

    def of(self, run: ObjectRef) -> dict[tuple[str, int], PushedProgress]:
        """Return what the pods of a run pushed last, by stage and index."""
        return self._pushed.get(run, {})

    def forget(self, run: ObjectRef) -> None:
        """Forget a run that is gone."""
        self._pushed.pop(run, None)

    def application(self) -> web.Application:
        """Return the web application that receives progress."""
        application = web.Application(client_max_size=BODY_MAX_BYTES)
        application.router.add_post(PATH, self._receive)
        return application

    async def _receive(self, request: web.Request) -> web.Response:
        try:
            sender = self._sender(request.remote or "")
            code, text = self._take(sender, await _body(request))
        except _Refused as refused:
            code, text = refused.code, refused.text
        self._count(code)
        response = web.Response(status=code, text=text or None)
        if code != _TAKEN:
            response.force_close()  # and read no more of the body
        return response

    def _sender(self, remote: str) -> "_Sender":
        """Return who pushes, by address, before anything of the body is read."""
        pod = self._pod_at(_address(remote))
        labels = (pod["metadata"].get("labels") or {}) if pod else {}
        if pod is None or LABEL_RUN not in labels or LABEL_STAGE not in labels:
            raise _Refused(403, "not the address of a pod of a run")
        run = ObjectRef(API_VERSION, KIND, pod["metadata"]["namespace"], labels[LABEL_RUN])
        if not self._exists(run):
            raise _Refused(404, f"no FusionRun {run.namespace}/{run.name}")
        text = (pod["metadata"].get("annotations") or {}).get(ANNOTATION_INDEX, "0")
        if not (text.isascii() and text.isdigit() and len(text) <= len(str(SHARDS_MAX)) and int(text) < SHARDS_MAX):
            raise _Refused(400, f"annotation {ANNOTATION_INDEX}: {text[:32]!r}: must be a number below {SHARDS_MAX}")
        now, uid = time.monotonic(), pod["metadata"]["uid"]
        if now - self._last.get(uid, 0.0) < PUSH_MIN_SECONDS:
            raise _Refused(429, f"at most one push in {PUSH_MIN_SECONDS} seconds")
        self._last = {u: at for u, at in self._last.items() if now - at < PUSH_MIN_SECONDS} | {uid: now}
        return _Sender(run, stage_from_label(labels[LABEL_STAGE]), int(text))

    def _take(self, sender: "_Sender", body: bytes) -> tuple[int, str]:
        """Take a push; return the HTTP status and text to answer."""
        try:
            progress = Progress.model_validate_json(body)
        except ValidationError as error:
            return 400, str(error)
        if self._exists(sender.run):  # it may have been deleted while the body came
            self._pushed.setdefault(sender.run, {})[sender.stage, sender.index] = PushedProgress(
                progress, datetime.now(UTC)
            )
            self._poke(sender.run)
        return _TAKEN, ""


_TAKEN = 204


@dataclass(frozen=True)
class _Sender:
    """Where the numbers of a push belong."""

    run: ObjectRef
    stage: str
    index: int


class _Refused(Exception):  # noqa: N818 -- an answer, not an error of ours
    """A push that is not taken, with the HTTP status and text to answer."""

    def __init__(self, code: int, text: str) -> None:
        self.code, self.text = code, text
        super().__init__(text)


async def _body(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body: bytes = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise _Refused(413, f"at most {BODY_MAX_BYTES} bytes") from None
    except TimeoutError:
        raise _Refused(408, f"a body has {BODY_SECONDS:g} seconds to arrive") from None
    return body


def _address(remote: str) -> str:
    try:
        address = ipaddress.ip_address(remote)
    except ValueError:
        return remote
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
