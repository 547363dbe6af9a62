"""Concurrent workers, and monitors that run at the same time."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

from fusionrun_stages.errors import StageError


async def run_workers(workers: Iterable[Coroutine[Any, Any, None]], *monitors: Coroutine[Any, Any, None]) -> None:
    """Run the workers until all have ended, then cancel the monitors.

    Raise the first StageError of a worker or a monitor, or any other exception if there is none.
    """
    try:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(monitor) for monitor in monitors]
            await asyncio.wait([group.create_task(worker) for worker in workers])
            for monitor in running:
                monitor.cancel()
    except ExceptionGroup as several:
        stage_errors, _ = several.split(StageError)
        raise (stage_errors or several).exceptions[0] from several
