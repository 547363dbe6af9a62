"""Operator processes outside the cluster, with free ports of their own."""

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml
from aiohttp import ClientSession

SECONDS = 60.0
"""Time for a step: the processes start slowly on a busy machine."""

Probe = Callable[[], Awaitable[dict[str, Any]]]


def free_ports(count: int) -> list[int]:
    """Return ports that no process uses."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for each in sockets:
        each.close()
    return ports


@asynccontextmanager
async def operator_process(
    file: Path, settings: dict[str, Any], environment: dict[str, str]
) -> AsyncIterator[tuple[asyncio.subprocess.Process, Probe]]:
    """Run an operator with settings; yield the process, and a function that returns what its probe says."""
    metrics, progress, health = free_ports(3)
    images = dict.fromkeys(("data", "serve", "train", "reward", "sandbox"), "none")
    ports = {"metrics_port": metrics, "progress_port": progress, "health_port": health}
    file.write_text(yaml.safe_dump({"images": images} | settings | ports))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fusionrun", "--settings", str(file)),
        env=environment | {"PYTHONPATH": ":".join(p for p in sys.path if p)},
        stderr=asyncio.subprocess.DEVNULL,
    )

    async def probe() -> dict[str, Any]:
        try:
            async with ClientSession() as session, session.get(f"http://127.0.0.1:{health}/healthz") as reply:
                found: dict[str, Any] = json.loads(await reply.text())
                return found
        except OSError:
            return {}

    try:
        yield process, probe
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def until(probe: Probe, seconds: float = SECONDS, **expected: Any) -> None:
    """Wait until the probe of an operator says something."""
    async with asyncio.timeout(seconds):
        while not expected.items() <= (await probe()).items():  # noqa: ASYNC110 -- another process
            await asyncio.sleep(0.05)
