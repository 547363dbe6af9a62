"""Simulated nodes and kubelets, in a thread.

Registers nodes, renews their leases, and reports the status of their pods: Running, Ready, then Succeeded with a
termination message. No container runs: the script has the duration and the result of each stage. In pods of Argo the
simulation also writes what ``argoexec`` writes. All changes of the pods, the workloads and the runs are recorded in a
timeline.
"""

import asyncio
import itertools
import json
import ssl
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import argo_executor
from aiohttp import web
from results import message_of_run
from shapes import LABEL, NAMESPACE
from timeline import Timeline

PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
TASK_RESULTS = argo_executor.PATH.format(NAMESPACE)
NODE_PREFIX = "fusionrun-bench-"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
LEASE_SECONDS = 40
"""The default of the kubelet, ``nodeLeaseDurationSeconds``."""
RESOURCES = {"cpu": "4096", "memory": "40Ti", "ephemeral-storage": "10Ti", "pods": "5000", "nvidia.com/gpu": "8"}
"""8 GPUs per node, and more of the rest than a measurement requests."""
STOP_SECONDS = 0.3
"""From the deletion of a running pod to its end."""
STOP_TIMEOUT = 10
REQUESTS_AT_ONCE = 64
ATTEMPTS = 7
MAX_LINE_BYTES = 8 << 20
APPLY, MERGE, JSON = "application/apply-patch+yaml", "application/merge-patch+json", "application/json"


@dataclass(frozen=True)
class Access:
    """How the kubelets reach the API server: its kubeconfig file, and the certificate that both use.

    The API server does not check the certificate of a kubelet.
    """

    kubeconfig: Path
    certificate: Path


@contextmanager
def running(
    access: Access, nodes: int, script: dict[str, Any], timeline: Timeline, watched: Mapping[str, str]
) -> Iterator[None]:
    """Run the kubelets in a thread, and watch these kinds of objects."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(_simulate(access, nodes, script, timeline, watched))
    task.add_done_callback(lambda _: timeline.end())

    def run() -> None:
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(task)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(STOP_TIMEOUT)


async def _simulate(
    access: Access, nodes: int, script: dict[str, Any], timeline: Timeline, watched: Mapping[str, str]
) -> None:
    config = json.loads(access.kubeconfig.read_text())
    host, token = config["clusters"][0]["cluster"]["server"], config["users"][0]["user"]["token"]
    context = ssl.create_default_context(cafile=access.certificate)
    connector = aiohttp.TCPConnector(ssl=context, limit=REQUESTS_AT_ONCE + len(watched) + 1)
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession(host, connector=connector, headers=headers, read_bufsize=MAX_LINE_BYTES) as session,
        asyncio.TaskGroup() as tasks,
    ):
        kubelets = Kubelets(session, tasks, timeline, script)
        port = await kubelets.serve(access.certificate)
        names = [f"{NODE_PREFIX}{number}" for number in range(nodes)]
        for name in names:
            await kubelets.register(name, port)
        tasks.create_task(kubelets.renew_leases(names))
        tasks.create_task(kubelets.watch(PODS, kubelets.observe))
        for kind, path in watched.items():
            tasks.create_task(kubelets.watch(path.format(NAMESPACE), timeline.observer(kind)))


class Kubelets:
    """The kubelets of all simulated nodes."""

    def __init__(
        self, session: aiohttp.ClientSession, tasks: asyncio.TaskGroup, timeline: Timeline, script: dict[str, Any]
    ) -> None:
        self._session = session
        self._tasks = tasks
        self._timeline = timeline
        self._script = script
        self._addresses = itertools.cycle(range(1, 2 << 16))
        self._created: set[str] = set()
        self._known: set[str] = set()
        self._deleting: set[str] = set()
        self._signals: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        """Whether the pod of a server has to end, or is gone, by its name."""

    async def serve(self, certificate: Path) -> int:
        """Serve the kubelets' API until the end of the task, and return its port.

        Argo ends the pod of a daemon by a command in its containers. The reply to it is an error, which Argo ignores.
        """

        async def execute(request: web.Request) -> web.Response:
            self._signals[request.match_info["pod"]].set()
            return web.Response(status=501, text="simulated: the pod ends, but no command runs")

        application = web.Application()
        application.router.add_post("/exec/{namespace}/{pod}/{container}", execute)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        port: int = runner.addresses[0][1]
        return port

    async def register(self, name: str, port: int) -> None:
        """Create a node that is Ready, with the port of its kubelet."""
        labels = {LABEL: "true", "kubernetes.io/hostname": name}
        labels |= {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
        spec = {"taints": [{"key": LABEL, "value": "true", "effect": "NoSchedule"}]}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": spec}
        conditions = [
            {"type": kind, "status": str(kind == "Ready"), "reason": "Simulated", "message": "reported by bench-scale"}
            | {"lastHeartbeatTime": _now(), "lastTransitionTime": _now()}
            for kind in ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
        ]
        status = {"capacity": RESOURCES, "allocatable": RESOURCES, "conditions": conditions}
        status |= {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]}
        status |= {"daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}
        await self._send("PATCH", f"/api/v1/nodes/{name}", node, APPLY)
        await self._send("PATCH", f"/api/v1/nodes/{name}/status", {"status": status}, MERGE)

    async def renew_leases(self, names: list[str]) -> None:
        """Renew the leases of the nodes, so that the node controller does not mark them as unreachable."""
        while True:
            for name in names:
                renewed = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
                lease = {
                    "apiVersion": "coordination.k8s.io/v1",
                    "kind": "Lease",
                    "metadata": {"name": name, "labels": {LABEL: "true"}},
                    "spec": {"holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": renewed},
                }
                await self._send("PATCH", f"{LEASES}/{name}", lease, APPLY)
            await asyncio.sleep(LEASE_SECONDS / 4)

    def observe(self, change: str, pod: dict[str, Any]) -> None:
        """Handle a watch event of a pod."""
        metadata, uid = pod["metadata"], pod["metadata"]["uid"]
        if uid not in self._created:
            self._created.add(uid)
            self._timeline.write("Pod", "created", pod)
        if not pod["spec"].get("nodeName", "").startswith(NODE_PREFIX):
            return
        ended = pod["status"].get("phase") in ("Succeeded", "Failed")
        if change == "DELETED":
            self._timeline.write("Pod", "gone", pod)
            self._signals.pop(metadata["name"], asyncio.Event()).set()
        elif "deletionTimestamp" in metadata:
            if uid not in self._deleting:
                self._deleting.add(uid)
                self._timeline.write("Pod", "deleting", pod)
                self._tasks.create_task(self._stop(pod, 0 if ended else STOP_SECONDS))
        elif uid not in self._known and not ended:
            self._known.add(uid)
            self._timeline.write("Pod", "bound", pod)
            self._tasks.create_task(self._run(pod))

    async def _run(self, pod: dict[str, Any]) -> None:
        """Take a pod from bound to Ready or Succeeded. Its address is in the network for benchmarks (RFC 2544)."""
        script = self._script.get(pod["metadata"]["labels"].get("fusionrun.dev/stage", "").replace(".", "/", 1))
        if script is None:
            self._timeline.write("Pod", "unknown-stage", pod)
            return
        number = next(self._addresses)
        status = partial(pod_status, pod, _now(), f"198.{18 + (number >> 16)}.{number >> 8 & 255}.{number & 255}")
        node = argo_executor.node_of(pod)
        await self._report(pod, "running", 0, partial(status, ready=not script.get("server")))
        if node:
            await self._send("POST", TASK_RESULTS, argo_executor.task_result(pod), JSON)
        if script.get("server"):
            await self._report(pod, "ready", script["start_seconds"], partial(status, ready=True))
            await self._signals[pod["metadata"]["name"]].wait()
            await asyncio.sleep(STOP_SECONDS)
            message = ""
        else:
            await asyncio.sleep(script["work_seconds"])
            message = message_of_run(script["message"], pod["metadata"]["labels"]["fusionrun.dev/run"])
        if node:
            for patch in argo_executor.patches():
                await self._send("PATCH", f"{TASK_RESULTS}/{node}", patch, MERGE)
        await self._report(pod, "succeeded", 0, partial(status, message=message))

    async def _report(self, pod: dict[str, Any], what: str, after: float, status: Callable[[], dict[str, Any]]) -> None:
        """Patch a pod's status after some seconds, unless the pod is being deleted."""
        await asyncio.sleep(after)
        if pod["metadata"]["uid"] in self._deleting:
            return
        due = time.time()
        await self._send("PATCH", f"{PODS}/{pod['metadata']['name']}/status", {"status": status()}, MERGE)
        self._timeline.write("Pod", what, pod, late=time.time() - due)

    async def _stop(self, pod: dict[str, Any], after: float) -> None:
        """Delete a pod that is terminating."""
        await asyncio.sleep(after)
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}}
        await self._send("DELETE", f"{PODS}/{pod['metadata']['name']}", options, JSON)

    async def _send(self, method: str, path: str, body: dict[str, Any], content_type: str) -> None:
        """Send a request. Retries with exponential back-off if the server is busy or fails; a 404 is not an error."""
        query = {"fieldManager": "bench-scale", "force": "true"} if content_type == APPLY else {}
        headers = {"Content-Type": content_type}
        for attempt in range(ATTEMPTS):
            await asyncio.sleep(0.05 * 2**attempt if attempt else 0)
            try:
                async with self._session.request(
                    method, path, params=query, data=json.dumps(body), headers=headers
                ) as reply:
                    if reply.ok or reply.status == 404 or (reply.status == 409 and method == "DELETE"):
                        return
                    problem = f"{reply.status} {await reply.text():.300}"
            except (aiohttp.ClientError, TimeoutError) as error:
                problem = repr(error)
        print(f"bench-scale: {method} {path}: {problem}", file=sys.stderr)

    async def watch(self, path: str, observe: Callable[[str, dict[str, Any]], None]) -> None:
        """Watch the objects at a path without end. Existing objects are reported as ADDED, again after an error."""
        version = ""
        while True:
            query = {"watch": "1", "allowWatchBookmarks": "true", "resourceVersion": version}
            try:
                async with self._session.get(path, params=query, timeout=aiohttp.ClientTimeout()) as reply:
                    reply.raise_for_status()
                    async for line in reply.content:
                        event = json.loads(line)
                        version = event["object"]["metadata"].get("resourceVersion", "")  # none in an error
                        if event["type"] not in ("BOOKMARK", "ERROR"):
                            observe(event["type"], event["object"])
            except (aiohttp.ClientError, TimeoutError) as error:
                print(f"bench-scale: the watch of {path} restarts: {type(error).__name__} {error}", file=sys.stderr)
                version = ""
                await asyncio.sleep(1)


def pod_status(
    pod: dict[str, Any], started: str, address: str, *, ready: bool = False, message: str | None = None
) -> dict[str, Any]:
    """Return the current status of a pod: it runs, or has succeeded with a termination message."""
    now = _now()
    ended = {"exitCode": 0, "reason": "Completed", "startedAt": started, "finishedAt": now, "message": message}
    each = {"imageID": "simulated", "containerID": f"simulated://{pod['metadata']['uid']}", "restartCount": 0}
    container = each | {"ready": ready, "started": message is None}
    container["state"] = {"running": {"startedAt": started}} if message is None else {"terminated": ended}
    initial = each | {"ready": True, "started": False, "state": {"terminated": ended | {"message": None}}}
    conditions = {"PodScheduled": True, "Initialized": True, "ContainersReady": ready, "Ready": ready}
    return {
        "phase": "Running" if message is None else "Succeeded",
        "startTime": started,
        "podIP": address,
        "podIPs": [{"ip": address}],
        "initContainerStatuses": [_named(c, initial) for c in pod["spec"].get("initContainers", ())],
        "containerStatuses": [_named(c, container) for c in pod["spec"]["containers"]],
        "conditions": [
            {"type": kind, "status": str(holds), "lastTransitionTime": now} for kind, holds in conditions.items()
        ],
    }


def _named(container: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
    return {"name": container["name"], "image": container["image"]} | status


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
