"""The operator process: create its parts, run them until a signal arrives or the Lease is lost, and stop them."""

import asyncio
import contextlib
import functools
import logging
import signal

import kopf

from fusionrun.cluster.client import Client
from fusionrun.cluster.connection import connect
from fusionrun.cluster.events import EventPoster
from fusionrun.cluster.execute import Executor
from fusionrun.cluster.gather import Gatherer, list_namespace
from fusionrun.cluster.lease import Lease, holder_identity, lease_ref
from fusionrun.cluster.store import Store
from fusionrun.handlers.health import health
from fusionrun.handlers.kopf_settings import configure_kopf, login
from fusionrun.handlers.leadership import Leadership
from fusionrun.handlers.memory import Memory
from fusionrun.handlers.ports import Limits, raise_open_files, serving
from fusionrun.handlers.resync import Resync
from fusionrun.handlers.watches import Watches
from fusionrun.handlers.work_queue import WorkQueue
from fusionrun.metrics import Metrics
from fusionrun.progress import ProgressBoard, ProgressReceiver
from fusionrun.reconcile import Reconciler
from fusionrun.settings import Settings
from fusionrun.state.observe.object_ref import ObjectRef

logger = logging.getLogger(__name__)

SCANNED = (("v1", "Namespace"), ("apiextensions.k8s.io/v1", "CustomResourceDefinition"))
"""What kopf lists and watches in the whole cluster, if it may, to notice new namespaces and kinds."""

FIRST_PROGRESS_SECONDS, PROGRESS_SECONDS = 2.0, 10.0
"""Time from the first and from later progress of a stage to the reconcile of its run, if nothing causes one sooner. The
status shows it at most every 30 s, and of the decisions only ``budget.maxCost`` and the order depend on it."""

DRAIN_SECONDS = 3.0
"""Maximum time that the operator waits for events to be posted before it exits."""

# Together far below 1,024 open files, the usual limit of a container.
PROGRESS_LIMITS = Limits(connections=256, per_address=4, seconds=10.0)
METRICS_LIMITS = Limits(connections=32, per_address=4, seconds=30.0)
HEALTH_LIMITS = Limits(connections=32, per_address=8, seconds=10.0)


async def run(settings: Settings) -> None:
    """Run the operator until SIGINT or SIGTERM.

    Raises
    ------
    NotLeaderError
        If another operator may act now.
    """
    raise_open_files()
    store, board = Store(), ProgressBoard()
    metrics = Metrics(store.runs, settings.accelerators.currency)
    # The Lease has connections of its own, so that no other request delays it.
    lease_client = await connect(metrics.request_sent)
    lease = Lease(lease_client, lease_ref(settings.lease_namespace, settings.namespaces), holder_identity())
    leadership = Leadership(lease if settings.lease_namespace else None, metrics.leader.set)
    client = await connect(metrics.request_sent, leadership.guard)
    watch_client = await connect(metrics.request_sent, connections=0)  # a watch keeps its connection
    events = EventPoster(client)
    gatherer = Gatherer(client, store, check_nodes=settings.policy.check_nodes)
    executor = Executor(client, store, events)
    memory = Memory()
    memory.started()
    reconciler = Reconciler(settings, gatherer, board, executor, metrics, lambda run: queue.add(run), memory.freed)
    queue = WorkQueue(reconciler.reconcile, executor.report_error, metrics.reconciled)

    def on_push(run: ObjectRef, first: bool) -> None:  # noqa: FBT001 -- positional in Callable
        queue.add_after(run, FIRST_PROGRESS_SECONDS if first else PROGRESS_SECONDS)

    receiver = ProgressReceiver(board, store.owned_pod_at, store.get, on_push, metrics.progress_pushed)
    list_one = functools.partial(list_namespace, client, store)
    namespaces = settings.namespaces or ("",)
    resync = Resync(list_one, namespaces, store, queue, settings.resync_seconds, metrics.listed)
    watches = Watches(store, gatherer, queue, metrics, resync, reconciler.forget)

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):  # kopf replaces these handlers when it starts
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        async with (
            serving(metrics.application(), settings.metrics_port, METRICS_LIMITS),
            serving(receiver.application(), settings.progress_port, PROGRESS_LIMITS, receiver.admits),
            serving(health(resync, leadership.waits_for), settings.health_port, HEALTH_LIMITS),
            leadership.held(stop),
        ):
            try:
                if not stop.is_set():
                    await _act(settings, client, watch_client, watches, resync, stop)
            finally:
                await queue.stop()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(events.drain(), DRAIN_SECONDS)
    finally:
        await client.close()
        await watch_client.close()
        await lease_client.close()


async def _act(
    settings: Settings, client: Client, watch_client: Client, watches: Watches, resync: Resync, stop: asyncio.Event
) -> None:
    """Watch and reconcile runs until ``stop`` is set or a signal arrives."""
    scanning = not settings.namespaces or await _may_scan(client)
    registry, kopf_settings = kopf.OperatorRegistry(), configure_kopf(scanning=scanning)
    watches.register(registry, kopf_settings)
    kopf.on.login(registry=registry)(functools.partial(login, client.server))
    listing = asyncio.create_task(resync.run(), name="resync")
    watching = asyncio.create_task(watches.run(watch_client, settings.namespaces or ("",)), name="watches")
    try:
        await kopf.operator(
            registry=registry,
            settings=kopf_settings,
            standalone=True,
            clusterwide=not settings.namespaces,
            namespaces=settings.namespaces,
            stop_flag=stop,
        )
    finally:
        listing.cancel()
        watching.cancel()


async def _may_scan(client: Client) -> bool:
    """Return whether kopf may list what it scans for new namespaces and kinds; log what it may not."""
    for api_version, kind in SCANNED:
        if not await client.may_list(api_version, kind):
            logger.warning("may not list each %s: namespaces and kinds that are created later are not watched", kind)
            return False
    return True
