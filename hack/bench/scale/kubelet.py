"""Simulated nodes and kubelets, in a thread.

Registers nodes, renews their leases, and reports the status of their pods: Running, Ready, then Succeeded with a
termination message. No container runs: the script has the duration and the result of each stage. All changes of the
pods, the workloads and the runs are recorded in a timeline.
"""

import asyncio
import itertools
import json
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

import aiohttp
from kubernetes.client import Configuration
from results import message_of_run
from shapes import LABEL, NAMESPACE
from timeline import Timeline

WATCHED = {
    "Job": "/apis/batch/v1/namespaces/{}/jobs",
    "PyTorchJob": "/apis/kubeflow.org/v1/namespaces/{}/pytorchjobs",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "FusionRun": "/apis/fusionrun.dev/v1alpha1/namespaces/{}/fusionruns",
}
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
NODE_PREFIX = "fusionrun-bench-"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
LEASE_SECONDS = 40
"""The default of the kubelet, ``nodeLeaseDurationSeconds``."""
RESOURCES = {"cpu": "256", "memory": "4Ti", "ephemeral-storage": "10Ti", "pods": "5000", "nvidia.com/gpu": "8"}
"""8 GPUs per node, and more of the rest than a measurement requests."""
STOP_SECONDS = 0.3
"""From the deletion of a running pod to its end."""
STOP_TIMEOUT = 10
REQUESTS_AT_ONCE = 64
ATTEMPTS = 7
MAX_LINE_BYTES = 8 << 20
APPLY, MERGE, JSON = "application/apply-patch+yaml", "application/merge-patch+json", "application/json"


@contextmanager
def running(nodes: int, script: dict[str, Any], timeline: Timeline) -> Iterator[None]:
    """Run the kubelets in a thread. Nodes that exist are registered again."""
    api = Configuration.get_default_copy()
    if not (api.cert_file and api.key_file and api.ssl_ca_cert):
        raise SystemExit("bench-scale: the simulated kubelets require a client certificate in the kubeconfig")
    context = ssl.create_default_context(cafile=api.ssl_ca_cert)
    context.load_cert_chain(api.cert_file, api.key_file)
    loop = asyncio.new_event_loop()
    task = loop.create_task(_simulate(api.host, context, nodes, script, timeline))
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


async def _simulate(host: str, context: ssl.SSLContext, nodes: int, script: dict[str, Any], timeline: Timeline) -> None:
    connector = aiohttp.TCPConnector(ssl=context, limit=REQUESTS_AT_ONCE + len(WATCHED) + 1)
    async with (
        aiohttp.ClientSession(host, connector=connector, read_bufsize=MAX_LINE_BYTES) as session,
        asyncio.TaskGroup() as tasks,
    ):
        kubelets = Kubelets(session, tasks, timeline, script)
        names = [f"{NODE_PREFIX}{number}" for number in range(nodes)]
        for name in names:
            await kubelets.register(name)
        tasks.create_task(kubelets.renew_leases(names))
        tasks.create_task(kubelets.watch(PODS, kubelets.observe))
        for kind, path in WATCHED.items():
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
        self._known: set[str] = set()
        self._deleting: set[str] = set()

    async def register(self, name: str) -> None:
        """Create or update a node that is Ready. Without an address, requests to its kubelet fail immediately."""
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
        if not pod["spec"].get("nodeName", "").startswith(NODE_PREFIX):
            return
        ended = pod["status"].get("phase") in ("Succeeded", "Failed")
        if change == "DELETED":
            self._timeline.write("Pod", "gone", pod)
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
        if script.get("server"):
            await self._report(pod, "running", 0, status)
            await self._report(pod, "ready", script["start_seconds"], partial(status, ready=True))
        else:
            await self._report(pod, "running", 0, partial(status, ready=True))
            message = message_of_run(script["message"], pod["metadata"]["labels"]["fusionrun.dev/run"])
            await self._report(pod, "succeeded", script["work_seconds"], partial(status, message=message))

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
    container = {"imageID": "simulated", "containerID": f"simulated://{pod['metadata']['uid']}", "restartCount": 0}
    container |= {"ready": ready, "started": message is None}
    container["state"] = {"running": {"startedAt": started}} if message is None else {"terminated": ended}
    conditions = {"PodScheduled": True, "Initialized": True, "ContainersReady": ready, "Ready": ready}
    return {
        "phase": "Running" if message is None else "Succeeded",
        "startTime": started,
        "podIP": address,
        "podIPs": [{"ip": address}],
        "containerStatuses": [{"name": c["name"], "image": c["image"]} | container for c in pod["spec"]["containers"]],
        "conditions": [
            {"type": kind, "status": str(holds), "lastTransitionTime": now} for kind, holds in conditions.items()
        ],
    }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
