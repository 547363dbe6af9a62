"""Workers that send the requests of a shard, with syncs, progress, metrics and the stall watch beside them."""

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterable
from contextlib import ExitStack
from typing import Any

from fusionrun.api.pod import METRICS_PORT_ENV
from fusionrun_stages.client.heartbeat import watch_for_stall
from fusionrun_stages.client.metrics import MetricsCollector, serve_metrics
from fusionrun_stages.client.server import ModelServer
from fusionrun_stages.client.workers import run_workers
from fusionrun_stages.volume.json_lines import JsonLines

SYNC_SECONDS = 5.0
"""Interval of fsync: a node failure loses at most the rows of one interval, a killed process loses none."""


async def send_all(
    server: ModelServer,
    workers: Iterable[Coroutine[Any, Any, None]],
    lines: JsonLines,
    report: Callable[[], None],
    collector: MetricsCollector,
    stall_seconds: float,
) -> None:
    """Run the workers, which append their rows to ``lines``, until all have ended; close ``lines``.

    Raises
    ------
    StageError
        The first one of a worker, or ServerStalledError if the server shows no activity for ``stall_seconds``.
    """
    with ExitStack() as stack:
        stack.callback(report)
        stack.callback(lines.close)
        stack.enter_context(serve_metrics(os.environ.get(METRICS_PORT_ENV), collector))
        await send(server, workers, lines, report, stall_seconds)


async def send(
    server: ModelServer,
    workers: Iterable[Coroutine[Any, Any, None]],
    lines: JsonLines,
    report: Callable[[], None],
    stall_seconds: float,
) -> None:
    """Run the workers until all have ended, without metrics; ``lines`` stays open. It raises what ``send_all`` does."""

    async def sync() -> None:
        while True:
            await asyncio.sleep(SYNC_SECONDS)
            await asyncio.to_thread(lines.sync)
            report()  # a long response is no stall of the pod: ``watch_for_stall`` limits how long a server is silent

    await run_workers(
        workers,
        watch_for_stall(server.heartbeat, stall_seconds, "no token accepted", server.tokens_generated),
        sync(),
        server.adapt_concurrency(),
    )
