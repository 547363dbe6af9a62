"""Operator processes and an API server in memory, which stores only a Lease."""

import asyncio
import signal
from contextlib import asynccontextmanager

import pytest
import yaml
from aiohttp import web

from fusionrun.cluster.resources import RESOURCES
from fusionrun.handlers.lifecycle import SCANNED
from support.operator_process import SECONDS, operator_process, until

SETTINGS = {"lease_namespace": "fusionrun-system"}
DISCOVERY = {"/api": {"versions": ["v1"]}, "/api/v1": {"resources": []}, "/apis": {"groups": []}}


def _resource(name, kind, namespaced):
    return {"name": name, "singularName": "", "kind": kind, "namespaced": namespaced, "verbs": ["list", "watch"]}


VERSION = {"groupVersion": "fusionrun.dev/v1alpha1", "version": "v1alpha1"}
NAMESPACED = {
    "/api": {"versions": ["v1"]},
    "/api/v1": {"resources": [_resource("namespaces", "Namespace", namespaced=False)]},
    "/apis": {"groups": [{"name": "fusionrun.dev", "versions": [VERSION], "preferredVersion": VERSION}]},
    "/apis/fusionrun.dev/v1alpha1": {"resources": [_resource("fusionruns", "FusionRun", namespaced=True)]},
}
"""A cluster with FusionRuns. ``namespaces`` must not be listed, and everything else is empty."""
LEASES = "/apis/coordination.k8s.io/v1/namespaces/fusionrun-system/leases"


class ApiServer:
    """Stores one Lease; has no other objects and no kinds."""

    def __init__(self, discovery=DISCOVERY):
        self.lease, self.version, self.discovery = None, 0, discovery
        self.watched, self.forbidden = set(), {"/api/v1/namespaces"}

    def application(self):
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._reply)
        return application

    async def _reply(self, request):
        if request.path in self.forbidden:
            return web.json_response({"message": "forbidden", "code": 403, "kind": "Status"}, status=403)
        if "watch" in request.query:
            self.watched.add(request.path)
            return web.Response()
        if request.path.endswith(("/fusionruns", "/namespaces")):
            found = {"items": [], "metadata": {"resourceVersion": "1"}}
        elif not request.path.startswith(LEASES):
            found = self.discovery.get(request.path)
        elif request.method == "GET":
            found = self.lease
        else:
            body = await request.json()
            known = (self.lease or {"metadata": {}})["metadata"].get("resourceVersion")
            if known != body["metadata"].get("resourceVersion"):
                return web.json_response({"message": "modified"}, status=409)
            self.store(body)
            found = self.lease
        return web.json_response(found or {"message": "not found"}, status=200 if found else 404)

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


@asynccontextmanager
async def operator(folder, name, api_port, **settings):
    """Run an operator of the API server."""
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump({
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{api_port}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }))  # fmt: skip
    environment = {"PATH": "/usr/bin:/bin", "KUBECONFIG": str(kubeconfig)}
    async with operator_process(folder / f"{name}.yaml", SETTINGS | settings, environment) as found:
        yield found


async def test_one_operator_acts_and_the_other_takes_over(tmp_path):
    api = ApiServer()
    async with serving(api) as port, operator(tmp_path, "a", port) as (first, probe_first):
        await until(probe_first, leader=True)
        holder = api.lease["spec"]["holderIdentity"]
        async with operator(tmp_path, "b", port) as (second, probe_second):
            await until(probe_second, leader=False, holder=holder)
            first.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(first.wait(), SECONDS) == 0
            await until(probe_second, leader=True)
            assert api.lease["spec"]["holderIdentity"] != holder
            api.store(api.lease | {"spec": api.lease["spec"] | {"holderIdentity": "thief"}})
            assert await asyncio.wait_for(second.wait(), SECONDS) == 1
            assert api.lease["spec"]["holderIdentity"] == "thief"


async def test_a_waiting_operator_stops_at_once(tmp_path):
    api = ApiServer()
    spec = {"holderIdentity": "other", "leaseDurationSeconds": 3600}
    api.store({"metadata": {"name": "fusionrun-operator"}, "spec": spec})
    async with serving(api) as port, operator(tmp_path, "a", port) as (process, probe):
        await until(probe, leader=False, holder="other")
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), SECONDS) == 0


def path_of(api_version, kind):
    root = "apis" if "/" in api_version else "api"
    return f"/{root}/{api_version}/{RESOURCES[api_version, kind][0]}"


def runs_in(namespace):
    return f"/apis/fusionrun.dev/v1alpha1/namespaces/{namespace}/fusionruns"


@pytest.mark.parametrize("scanned", SCANNED, ids=lambda kind: kind[1])
async def test_a_namespace_is_watched_although_another_one_and_a_list_of_the_cluster_are_forbidden(tmp_path, scanned):
    """Otherwise kopf repeats this list for half an hour before it watches anything."""
    api = ApiServer(NAMESPACED)
    api.forbidden = {runs_in("gone"), path_of(*scanned)}
    async with (
        serving(api) as port,
        operator(tmp_path, "a", port, namespaces=["gone", "team"]) as (process, probe),
        asyncio.timeout(SECONDS),
    ):
        await until(probe, leader=True)
        while runs_in("team") not in api.watched:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        assert process.returncode is None
