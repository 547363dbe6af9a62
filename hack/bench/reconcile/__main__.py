"""Measure what N concurrent runs cost the operator, without a cluster.

``make bench-reconcile N=10``, or ``python hack/bench/reconcile --runs 10``. The operator is a real process. The API
server, the controllers and the kubelets are simulated in this process. docs/benchmarks.md describes the measurement.
"""

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

sys.path.insert(0, str(Path(__file__).parents[1] / "scale"))

from analysis import percentile
from api_server import ApiServer
from controllers import Controllers
from idle_servers import IdleServers
from operator_process import operator
from shapes import Workload

NAMESPACE = "bench"
SETTLE_SECONDS = 3.0
"""Time after a start, and after the last run, until the operator has nothing to do."""


async def main() -> None:
    options = _options()
    first, workload = Workload("tiny", 1, "first"), Workload("tiny", options.runs, "bench")
    server = ApiServer()
    Controllers(server, workload.script())
    metadata = {"name": workload.claim, "namespace": NAMESPACE}
    server.create({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata})
    async with serving(server) as port:
        async with operator(port):
            await run(server, first, options.timeout)
        async with operator(port, options.profile, options.log) as measured:
            await asyncio.sleep(SETTLE_SECONDS)
            start, before = measured.usage(), await measured.reconciles()
            server.reset_counts()
            idle = IdleServers(workload.plan)
            server.observers.append(idle.observe)
            outcomes = await run(server, workload, options.timeout)
            await asyncio.sleep(SETTLE_SECONDS)
            end, requests, events = measured.usage(), server.requests.copy(), server.events_sent
            reconciles = await measured.reconciles() - before
        async with operator(port) as again:
            await asyncio.sleep(SETTLE_SECONDS)
            restarted = again.usage()
    print(f"runs: {dict(outcomes)}, servers: {len(idle.seconds)}")
    rows = {
        "CPU time per stage, ms": 1000 * (end.cpu - start.cpu) / workload.stages,
        "requests per stage": requests.total() / workload.stages,
        "watch events per stage": events / workload.stages,
        "reconciles per stage": reconciles / workload.stages,
        "end of the last client to the deletion of its server, median, ms": 1000 * (percentile(idle.seconds, 50) or 0),
        "end of the last client to the deletion of its server, maximum, ms": 1000 * max(idle.seconds, default=0),
        "RSS with one finished run, MiB": start.rss,
        "RSS per run in flight, maximum, MiB": (end.peak - start.rss) / options.runs,
        "RSS when all are finished, MiB": end.rss,
        "RSS per finished run, after a restart, MiB": (restarted.rss - start.rss) / options.runs,
    }
    for name, value in rows.items():
        print(f"{name}: {value:.2f}")
    shown = ((what, count / workload.stages) for what, count in requests.most_common())
    print("requests per stage by kind:", ", ".join(f"{what} {each:.2f}" for what, each in shown if each >= 0.005))


async def run(server: ApiServer, workload: Workload, seconds: float) -> Counter[str]:
    """Create the runs, and wait until every one is finished; return how many have each outcome."""
    unfinished, done = set(workload.names), asyncio.Event()
    outcomes: Counter[str] = Counter()

    def observe(_change: str, manifest: dict[str, Any]) -> None:
        true = {c["type"] for c in manifest.get("status", {}).get("conditions", []) if c["status"] == "True"}
        name = manifest["metadata"]["name"]
        if manifest["kind"] == "FusionRun" and "Finished" in true and name in unfinished:
            unfinished.discard(name)
            outcomes["complete" if "Complete" in true else "failed"] += 1
        if not unfinished:
            done.set()

    server.observers.append(observe)
    for manifest in workload.manifests():
        server.create(manifest | {"metadata": manifest["metadata"] | {"namespace": NAMESPACE}})
    await asyncio.wait_for(done.wait(), seconds)
    server.observers.remove(observe)
    return outcomes


@asynccontextmanager
async def serving(server: ApiServer) -> AsyncIterator[int]:
    """Serve the simulated API server on a free port of the loopback interface; yield the port."""
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "bench-reconcile", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=10, help="number of runs (default: 10)")
    parser.add_argument("--timeout", type=float, default=300, help="seconds until the runs must end (default: 300)")
    parser.add_argument(
        "--profile", type=Path, help="run the operator with cProfile, and write the profile to this file"
    )
    parser.add_argument("--log", type=Path, help="write the log of the operator to this file")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main())
