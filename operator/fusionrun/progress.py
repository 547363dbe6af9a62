"""The endpoint at which pods push their progress: small, advisory, and trusted for nothing else.

A pod needs no token for it: it is known by its address, which must be that of a living pod with our labels. What it
may say is a ``Progress``; where it belongs (run, stage, index) is read from the pod, never from what it says.
"""

import ipaddress
import time
from collections.abc import Callable
from datetime import UTC, datetime

from aiohttp import web
from pydantic import ValidationError

from fusionrun.api.models import Manifest
from fusionrun.api.result import Progress
from fusionrun.names import API_VERSION, KIND, LABEL_RUN, LABEL_STAGE, stage_from_label
from fusionrun.state.live import ObjectRef, Pushed

PATH = "/v1/progress"
BODY_MAX_BYTES = 4096
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
    poke
        Told of every run that has news.
    count
        Told of the HTTP status of every reply.
    """

    def __init__(
        self,
        pod_at: Callable[[str], Manifest | None],
        poke: Callable[[ObjectRef], None],
        count: Callable[[int], None],
    ) -> None:
        self._pod_at = pod_at
        self._poke = poke
        self._count = count
        self._pushed: dict[ObjectRef, dict[tuple[str, int], Pushed]] = {}
        self._last: dict[str, float] = {}

    def of(self, run: ObjectRef) -> dict[tuple[str, int], Pushed]:
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
            code, text = self._take(request.remote or "", await request.read())
        except web.HTTPRequestEntityTooLarge:
            code, text = 413, f"at most {BODY_MAX_BYTES} bytes"
        self._count(code)
        return web.Response(status=code, text=text or None)

    def _take(self, remote: str, body: bytes) -> tuple[int, str]:
        """Take a push; return the HTTP status and text to answer."""
        pod = self._pod_at(_address(remote))
        labels = (pod["metadata"].get("labels") or {}) if pod else {}
        if pod is None or LABEL_RUN not in labels or LABEL_STAGE not in labels:
            return 403, "not the address of a pod of a run"
        now, uid = time.monotonic(), pod["metadata"]["uid"]
        if now - self._last.get(uid, 0.0) < PUSH_MIN_SECONDS:
            return 429, f"at most one push in {PUSH_MIN_SECONDS} seconds"
        self._last = {u: at for u, at in self._last.items() if now - at < PUSH_MIN_SECONDS} | {uid: now}
        try:
            progress = Progress.model_validate_json(body)
        except ValidationError as error:
            return 400, str(error)
        run = ObjectRef(API_VERSION, KIND, pod["metadata"]["namespace"], labels[LABEL_RUN])
        index = int((pod["metadata"].get("annotations") or {}).get(ANNOTATION_INDEX, 0))
        stage = stage_from_label(labels[LABEL_STAGE])
        self._pushed.setdefault(run, {})[stage, index] = Pushed(progress, datetime.now(UTC))
        self._poke(run)
        return 204, ""


def _address(remote: str) -> str:
    try:
        address = ipaddress.ip_address(remote)
    except ValueError:
        return remote
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
