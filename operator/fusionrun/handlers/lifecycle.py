"""The operator process: create its parts, run them until a signal arrives, and stop them."""

import asyncio
import contextlib
import functools

import kopf

from fusionrun.cluster.connection import connect
from fusionrun.cluster.events import EventPoster
from fusionrun.cluster.execute import Executor
from fusionrun.cluster.gather import Gatherer, list_everything
from fusionrun.cluster.store import Store
from fusionrun.handlers.kopf_settings import configure_kopf, login
from fusionrun.handlers.ports import Limits, raise_open_files, serving
from fusionrun.handlers.resync import Resync
from fusionrun.handlers.watches import Watches
from fusionrun.handlers.work_queue import WorkQueue
from fusionrun.metrics import Metrics
from fusionrun.progress import ProgressBoard, ProgressReceiver
from fusionrun.reconcile import Reconciler
from fusionrun.settings import Settings

PROGRESS_SECONDS = 2.0
"""Time from pushed progress to the reconcile of its run. Progress alone causes no reconcile sooner."""

DRAIN_SECONDS = 3.0
"""Maximum time that the operator waits for events to be posted before it exits."""

# Together far below 1,024 open files, the usual limit of a container.
PROGRESS_LIMITS = Limits(connections=256, per_address=4, seconds=10.0)
METRICS_LIMITS = Limits(connections=32, per_address=4, seconds=30.0)
HEALTH_LIMITS = Limits(connections=32, per_address=8, seconds=10.0)


async def run(settings: Settings) -> None:
    """Run the operator until SIGINT or SIGTERM."""
    raise_open_files()
    store, board = Store(), ProgressBoard()
    metrics = Metrics(store.runs)
    client = await connect(metrics.request_sent)
    events = EventPoster(client)
    gatherer, executor = Gatherer(client, store), Executor(client, store, events)
    reconciler = Reconciler(settings, gatherer, board, executor, metrics)
    queue = WorkQueue(reconciler.reconcile, executor.report_error, metrics.reconciled)
    on_push = functools.partial(queue.add_after, seconds=PROGRESS_SECONDS)
    receiver = ProgressReceiver(board, store.owned_pod_at, store.get, on_push, metrics.progress_pushed)
    list_all = functools.partial(list_everything, client, store, settings.namespaces or ("",))
    resync = Resync(list_all, store, queue, settings.resync_seconds)
    watches = Watches(store, gatherer, queue, metrics, resync, reconciler.forget)

    registry, kopf_settings = kopf.OperatorRegistry(), configure_kopf()
    watches.register(registry, kopf_settings)
    kopf.on.login(registry=registry)(functools.partial(login, client.server))

    async with (
        serving(metrics.application(), settings.metrics_port, METRICS_LIMITS),
        serving(receiver.application(), settings.progress_port, PROGRESS_LIMITS, receiver.admits),
        serving(resync.health(), settings.health_port, HEALTH_LIMITS),
    ):
        listing = asyncio.create_task(resync.run(), name="resync")
        try:
            await kopf.operator(
                registry=registry,
                settings=kopf_settings,
                standalone=True,
                clusterwide=not settings.namespaces,
                namespaces=settings.namespaces,
            )
        finally:
            listing.cancel()
            await queue.stop()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(events.drain(), DRAIN_SECONDS)
            await client.close()
