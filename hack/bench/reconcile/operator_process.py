"""The operator as a process of its own, connected to the simulated API server."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from aiohttp import ClientError, ClientSession

ROOT = Path(__file__).parents[3]
START_SECONDS = 60.0
TICKS = os.sysconf("SC_CLK_TCK")
PORTS = ("metrics_port", "progress_port", "health_port")
IMAGES = dict.fromkeys(("data", "serve", "train", "reward", "sandbox"), "registry.example.com/fusionrun:bench")


@dataclass(frozen=True)
class Usage:
    """CPU time in seconds, and resident memory and its maximum in MiB."""

    cpu: float
    rss: float
    peak: float


@dataclass(frozen=True)
class Operator:
    """A running operator."""

    pid: int
    metrics_port: int

    def usage(self) -> Usage:
        """Return what the process has used."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        rss, peak = (int(re.findall(rf"^{n}:\s+(\d+) kB", status, re.MULTILINE)[0]) / 1024 for n in ("VmRSS", "VmHWM"))
        times = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return Usage(sum(map(int, times[11:13])) / TICKS, rss, peak)

    async def reconciles(self) -> float:
        """Return the number of reconciles so far."""
        async with ClientSession() as session, session.get(f"http://127.0.0.1:{self.metrics_port}/metrics") as reply:
            text = await reply.text()
        found = re.findall(r"^fusionrun_reconcile_duration_seconds_count.* (\S+)$", text, re.MULTILINE)
        return sum(map(float, found))


@asynccontextmanager
async def operator(server_port: int, profile: Path | None = None, log: Path | None = None) -> AsyncIterator[Operator]:
    """Run an operator until the end of the block, optionally with cProfile."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in PORTS]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    with tempfile.TemporaryDirectory() as folder, (log or Path(os.devnull)).open("w") as output:
        settings, kubeconfig = Path(folder) / "settings.yaml", Path(folder) / "kubeconfig"
        settings.write_text(yaml.safe_dump({"images": IMAGES, **dict(zip(PORTS, ports, strict=True))}))
        kubeconfig.write_text(yaml.safe_dump({
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server_port}"}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
        }))  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *(("-m", "cProfile", "-o", str(profile.resolve())) if profile else ()),
            *("-m", "fusionrun", "--settings", str(settings)),
            env={"PATH": os.environ["PATH"], "KUBECONFIG": str(kubeconfig), "PYTHONPATH": str(ROOT / "operator")},
            stderr=output,
        )
        try:
            await _until_ready(ports[2])
            yield Operator(process.pid, ports[0])
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            await process.wait()


async def _until_ready(health_port: int) -> None:
    """Wait until the operator has listed all objects."""
    async with ClientSession() as session, asyncio.timeout(START_SECONDS):
        while True:
            with contextlib.suppress(ClientError):
                async with session.get(f"http://127.0.0.1:{health_port}/readyz") as reply:
                    if reply.ok:
                        return
            await asyncio.sleep(0.1)
