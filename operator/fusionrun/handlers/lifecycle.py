"""Put the parts together, run them until a signal comes, and take them down again."""

import asyncio
import contextlib
import dataclasses
import functools
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import kopf
from aiohttp import web

from fusionrun.api.status import Reason
from fusionrun.cluster.client import connect, proxy_for
from fusionrun.cluster.events import EventPoster
from fusionrun.cluster.execute import Executor
from fusionrun.cluster.gather import Gatherer, list_everything
from fusionrun.cluster.store import Store
from fusionrun.handlers.nothing_kept import NoDiffBase, NoProgress
from fusionrun.handlers.pokes import Pokes
from fusionrun.handlers.resync import Resync
from fusionrun.handlers.watches import Watches
from fusionrun.metrics import Metrics
from fusionrun.progress import ProgressBoard
from fusionrun.reconcile import Reconciler
from fusionrun.settings import Settings
from fusionrun.state.observe.object_ref import ObjectRef
from fusionrun.state.report.events import Event

logger = logging.getLogger(__name__)

PROGRESS_SECONDS = 2.0
"""Longest that pushed progress waits for a reconcile, and so the least time between two that it alone asks for."""

WATCH_PAGE_SIZE = 25
"""Most objects of a kind in one page of the lists with which the watches start: all kinds are listed at once.

Small, as ``cluster.client.LIST_PAGE_SIZE`` is, and for the same reason.
"""

DRAIN_SECONDS = 3.0
"""How long the last events may take to be posted when the operator ends."""


async def run(settings: Settings) -> None:
    """Run the operator until SIGINT or SIGTERM."""
    store = Store()
    metrics = Metrics(store.runs)
    client = await connect(metrics.request_sent)
    gatherer = Gatherer(client, store)
    events = EventPoster(client)
    executor = Executor(client, store, events)
    namespaces = settings.namespaces or ("",)

    async def failed(run: ObjectRef, error: Exception) -> None:
        if manifest := store.get(run):
            event = Event("Warning", Reason.INFRASTRUCTURE_ERROR, f"{type(error).__name__}: {error}")
            events.post(manifest, event, datetime.now(UTC))

    def gone(run: ObjectRef) -> None:
        pokes.forget(run)
        board.forget(run)
        gatherer.forget(run)
        executor.forget(run)

    board = ProgressBoard(
        store.pod_at,
        lambda run: store.get(run) is not None,
        lambda run: pokes.poke_later(run, PROGRESS_SECONDS),
        lambda code: metrics.progress_pushes.labels(str(code)).inc(),
    )
    reconciler = Reconciler(settings, store, gatherer, board, executor, metrics)
    pokes = Pokes(reconciler.reconcile, failed, lambda result, s: metrics.reconcile_seconds.labels(result).observe(s))
    resync = Resync(lambda: list_everything(client, store, namespaces), store, pokes, settings.resync_seconds)
    watches = Watches(
        store=store,
        gatherer=gatherer,
        pokes=pokes,
        metrics=metrics,
        gone=gone,
        ready=lambda: resync.ready,
        relisted=resync.soon,
    )

    registry, kopf_settings = kopf.OperatorRegistry(), configure_kopf()
    watches.register(registry, kopf_settings)
    kopf.on.login(registry=registry)(functools.partial(login, client.server))
    kopf.on.probe(id="resync_age_seconds", registry=registry)(lambda **_: resync.check())

    async with (
        _serving(metrics.application(), settings.metrics_port),
        _serving(board.application(), settings.progress_port),
    ):
        listing = asyncio.create_task(resync.run(), name="resync")
        try:
            await kopf.operator(
                registry=registry,
                settings=kopf_settings,
                standalone=True,
                clusterwide=not settings.namespaces,
                namespaces=settings.namespaces,
                liveness_endpoint=f"http://0.0.0.0:{settings.health_port}/healthz",
            )
        finally:
            listing.cancel()
            await pokes.stop()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(events.drain(), DRAIN_SECONDS)
            await client.close()


def configure_kopf() -> kopf.OperatorSettings:
    """Return kopf's settings: watches that notice a dead connection, and nothing written by kopf itself."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    # The server ends a watch, the client gives up a little later, and bookmarks (one a minute) prove that it lives:
    # a watch that died silently is noticed within inactivity_timeout.
    settings.watching.server_timeout = 240
    settings.watching.client_timeout = 270
    settings.watching.connect_timeout = 10
    settings.watching.inactivity_timeout = 75
    settings.watching.reconnect_backoff = 0.2
    # kopf lists each kind before it watches it, all kinds at the same time, and holds an object until its worker ends.
    settings.watching.chunk_size = WATCH_PAGE_SIZE
    settings.queueing.idle_timeout = 0.05
    # kopf computes what its other handlers compare an object with for on.event, too, which never reads it.
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.persistence.progress_storage = NoProgress()
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    # An API server that is away for half an hour is waited for; after that the kubelet restarts us.
    settings.networking.error_backoffs = (0.2, 0.5, 1, 2, *[3] * 600)
    settings.queueing.exit_timeout = 1.0
    settings.process.ultimate_exiting_timeout = 20.0
    # kopf tells of every event that it handed on, and of every probe that it answered.
    for name in ("kopf.objects", "kopf.activities.probe", "aiohttp.access"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return settings


def login(server: str, **kwargs: Any) -> kopf.ConnectionInfo | None:
    """Log kopf in as the pod's service account, or as KUBECONFIG says.

    kopf would look for the API server by a name in the cluster's DNS, which may be what is broken: it gets our client's
    address, and the proxy that leads there.
    """
    account = kopf.login_with_service_account(**kwargs)
    if account:
        return dataclasses.replace(account, server=server, proxy_url=proxy_for(server))
    found = kopf.login_with_kubeconfig(**kwargs)
    return found and dataclasses.replace(found, proxy_url=found.proxy_url or proxy_for(found.server))


@contextlib.asynccontextmanager
async def _serving(application: web.Application, port: int) -> AsyncIterator[None]:
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "0.0.0.0", port).start()  # noqa: S104 -- a pod's own address is all it has
        yield
    finally:
        await runner.cleanup()
