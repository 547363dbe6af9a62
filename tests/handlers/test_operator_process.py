"""Two operator processes and an API server that knows only a Lease: one acts, the other waits."""

import asyncio
import json
import signal
import socket
import sys
from contextlib import asynccontextmanager

import pytest
import yaml
from aiohttp import ClientSession, web

SETTINGS = {
    "images": dict.fromkeys(("data", "serve", "train", "reward", "sandbox"), "x"),
    "lease_namespace": "fusionrun-system",
}
LEASES = "/apis/coordination.k8s.io/v1/namespaces/fusionrun-system/leases"
SECONDS = 60.0
"""Time for a step: the processes start slowly on a busy machine."""


class ApiServer:
    """Stores one Lease; has no other objects and no kinds."""

    def __init__(self):
        self.lease, self.version = None, 0

    def application(self):
        application = web.Application()
        application.router.add_get("/api", lambda _: self._reply({"versions": ["v1"]}))
        application.router.add_get("/api/v1", lambda _: self._reply({"resources": []}))
        application.router.add_get("/apis", lambda _: self._reply({"groups": []}))
        application.router.add_post(LEASES, self._write)
        application.router.add_route("*", LEASES + "/{name}", self._write)
        application.router.add_route("*", "/{path:.*}", lambda _: self._reply({"message": "not found"}, 404))
        return application

    async def _reply(self, body, status=200):
        return web.json_response(body, status=status)

    async def _write(self, request):
        if request.method == "GET":
            return await (self._reply(self.lease) if self.lease else self._reply({"message": "not found"}, 404))
        body = await request.json()
        if (self.lease or {}).get("metadata", {}).get("resourceVersion") != body["metadata"].get("resourceVersion"):
            return await self._reply({"message": "modified"}, 409)
        self.store(body)
        return await self._reply(self.lease)

    def store(self, lease):
        self.version += 1
        self.lease = lease | {"metadata": lease["metadata"] | {"resourceVersion": str(self.version)}}


@asynccontextmanager
async def serving(api):
    runner = web.AppRunner(api.application())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for each in sockets:
        each.close()
    return ports


@asynccontextmanager
async def operator(folder, name, api_port, environment):
    """Run an operator process; yield it and a function that returns what its probe says."""
    metrics, progress, health = free_ports(3)
    ports = {"metrics_port": metrics, "progress_port": progress, "health_port": health}
    settings, kubeconfig = folder / f"{name}.yaml", folder / "kubeconfig"
    settings.write_text(yaml.safe_dump(SETTINGS | ports))
    kubeconfig.write_text(yaml.safe_dump({
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{api_port}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }))  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fusionrun", "--settings", str(settings)),
        env=environment | {"KUBECONFIG": str(kubeconfig)},
        stderr=asyncio.subprocess.DEVNULL,
    )

    async def probe():
        async with ClientSession() as session:
            try:
                async with session.get(f"http://127.0.0.1:{health}/healthz") as reply:
                    return json.loads(await reply.text())
            except OSError:
                return {}

    try:
        yield process, probe
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def until(probe, **expected):
    async with asyncio.timeout(SECONDS):
        while not expected.items() <= (await probe()).items():
            await asyncio.sleep(0.05)


@pytest.fixture
def environment():
    return {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(p for p in sys.path if p)}


async def test_one_operator_acts_and_the_other_takes_over(tmp_path, environment):
    api = ApiServer()
    async with serving(api) as port, operator(tmp_path, "a", port, environment) as (first, probe_first):
        await until(probe_first, leader=True)
        holder = api.lease["spec"]["holderIdentity"]
        async with operator(tmp_path, "b", port, environment) as (second, probe_second):
            await until(probe_second, leader=False, holder=holder)
            first.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(first.wait(), SECONDS) == 0
            await until(probe_second, leader=True)
            assert api.lease["spec"]["holderIdentity"] != holder
            api.store(api.lease | {"spec": api.lease["spec"] | {"holderIdentity": "thief"}})
            assert await asyncio.wait_for(second.wait(), SECONDS) == 1
            assert api.lease["spec"]["holderIdentity"] == "thief"


async def test_a_waiting_operator_stops_at_once(tmp_path, environment):
    api = ApiServer()
    spec = {"holderIdentity": "other", "leaseDurationSeconds": 3600}
    api.store({"metadata": {"name": "fusionrun-operator"}, "spec": spec})
    async with serving(api) as port, operator(tmp_path, "a", port, environment) as (process, probe):
        await until(probe, leader=False, holder="other")
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), SECONDS) == 0
