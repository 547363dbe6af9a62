"""The Kubernetes client, as small as we need it: plain dicts in and out, ``ClusterError`` for everything that fails.

This is the one module that sees an ``ApiException``. It knows paths from the table ``RESOURCES``; only the version of
a group in ``PREFERRED_VERSIONS`` is discovered, each time that it is needed, since the group may be installed or
upgraded at any time. It never retries (who calls decides) and never caches.
"""

import json
import time
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
from kubernetes.aio.client import ApiClient, ApiException, Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config
from kubernetes.aio.dynamic import DynamicClient, Resource

from fusionrun.api.models import Manifest
from fusionrun.errors import ClusterError, PlanError
from fusionrun.names import API_VERSION, FIELD_MANAGER, KIND, PLURAL
from fusionrun.state.decide.prerequisites import KUEUE_GROUP
from fusionrun.state.observe.object_ref import ObjectRef

REQUEST_TIMEOUT_SECONDS = 30.0
LIST_PAGE_SIZE = 100
"""Most objects in one page of a list.

A page is held in memory as text and as parsed objects, and what it takes is not given back. Ours, measured: with 20
finished runs the operator has 114 MiB with pages of 500 (the default of client-go's pager), and 96 MiB with 100.
"""
LOG_TIMEOUT_SECONDS = 5.0
LOG_LIMIT_BYTES = 16384
EVENTS_LIMIT = 50
"""Most events of one object that are read; Kubernetes counts equal ones in one and forgets them after an hour."""

RESOURCES: dict[tuple[str, str], tuple[str, bool]] = {
    (API_VERSION, KIND): (PLURAL, True),
    ("v1", "ConfigMap"): ("configmaps", True),
    ("v1", "Event"): ("events", True),
    ("v1", "PersistentVolumeClaim"): ("persistentvolumeclaims", True),
    ("v1", "Pod"): ("pods", True),
    ("v1", "Secret"): ("secrets", True),
    ("v1", "Service"): ("services", True),
    ("v1", "ServiceAccount"): ("serviceaccounts", True),
    ("apps/v1", "Deployment"): ("deployments", True),
    ("batch/v1", "Job"): ("jobs", True),
    ("kubeflow.org/v1", "PyTorchJob"): ("pytorchjobs", True),
    ("networking.k8s.io/v1", "NetworkPolicy"): ("networkpolicies", True),
    ("node.k8s.io/v1", "RuntimeClass"): ("runtimeclasses", False),
    ("scheduling.k8s.io/v1", "PriorityClass"): ("priorityclasses", False),
    (KUEUE_GROUP, "LocalQueue"): ("localqueues", True),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"): ("customresourcedefinitions", False),
}
"""Plural and scope of every kind that we read or write, by apiVersion (or group, to be discovered) and kind."""

PREFERRED_VERSIONS: dict[str, tuple[str, ...]] = {KUEUE_GROUP: ("v1beta2", "v1beta1")}
"""Groups whose served version differs between clusters, with the versions to ask for, the best first.

Source: Kueue 0.20 release notes (kubernetes-sigs/kueue#14558): v1beta1 is no longer served.
"""

_METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_OK, _CREATED, _NOT_FOUND = 200, 201, 404

Observe = Callable[[str, str, int, float], None]
"""Told of every request: verb, kind, HTTP status (0 without a reply), seconds."""


@dataclass(frozen=True)
class Page:
    """A part of a list."""

    items: list[Manifest]
    """The caller's to empty, so that what is read of a page need not be held beside all of it."""
    version: str
    """The resourceVersion of the whole list."""


class Client:
    """Requests to one API server.

    Parameters
    ----------
    api
        A connected client of the Kubernetes library; ``connect`` makes one.
    observe
        Told of every request.
    """

    def __init__(self, api: ApiClient, observe: Observe) -> None:
        self._api = api
        self._dynamic = DynamicClient(api)
        self._observe = observe

    @property
    def server(self) -> str:
        """The address of the API server."""
        return str(self._api.configuration.host)

    async def get(self, ref: ObjectRef) -> Manifest:
        """Return an object."""
        resource = self._resource(ref.api_version, ref.kind)
        return await self._send(
            "get", ref.kind, ref.name, resource.get(name=ref.name, namespace=ref.namespace or None, **_plain())
        )

    async def exists(self, ref: ObjectRef) -> bool:
        """Return whether an object is there, without reading more of it than its metadata (a Secret's keys, say).

        Parameters
        ----------
        ref
            Its ``api_version`` may be a group of ``PREFERRED_VERSIONS``; kind ``APIGroup`` is that group itself.

        Raises
        ------
        ClusterError
            If the API server answers neither yes nor no.
        """
        api_version = ref.api_version
        if ref.api_version in PREFERRED_VERSIONS:
            version = await self._served_version(ref.api_version)
            if version is None or ref.kind == "APIGroup":
                return version is not None
            api_version = f"{ref.api_version}/{version}"
        resource = self._resource(ref.api_version, ref.kind, api_version)
        reply = resource.get(
            name=ref.name,
            namespace=ref.namespace or None,
            header_params={"Accept": _METADATA_ONLY},
            **_plain(),
        )
        try:
            await self._send("get", ref.kind, ref.name, reply)
        except ClusterError as error:
            if error.status == _NOT_FOUND:
                return False
            raise
        return True

    async def pages(
        self, api_version: str, kind: str, namespace: str = "", label_selector: str | None = None
    ) -> AsyncIterator[Page]:
        """Yield the objects of a kind page by page; one empty page where the kind does not exist.

        All pages show the same state of the cluster, that of the first. They are read consistently, without
        ``resourceVersion=0``: with it an API server answers from its watch cache, ignores ``limit``, and sends the
        whole list at once, which is what must not be held in memory. That answer may also be of any age.

        Raises
        ------
        ClusterError
            Among others with status 410 when the API server no longer has the state of the first page: start again.
        """
        resource = self._resource(api_version, kind)
        token = None
        while True:
            reply = resource.get(
                namespace=namespace or None,
                label_selector=label_selector,
                limit=LIST_PAGE_SIZE,
                _continue=token,
                **_plain(),
            )
            try:
                found = await self._send("list", kind, namespace or "*", reply)
            except ClusterError as error:
                if error.status != _NOT_FOUND:
                    raise
                found = {"metadata": {}}
            items = found.pop("items", None) or []
            for item in items:  # which carry neither apiVersion nor kind in a list
                item["apiVersion"], item["kind"] = api_version, kind
            token = found["metadata"].get("continue")
            yield Page(items, found["metadata"].get("resourceVersion") or "0")
            if not token:
                return

    async def newest_warning(self, namespace: str, uid: str) -> str:
        """Return reason and message of an object's newest Warning event; empty where there is none."""
        resource = self._resource("v1", "Event")
        selector = f"involvedObject.uid={uid},type=Warning"
        reply = resource.get(namespace=namespace, field_selector=selector, limit=EVENTS_LIMIT, **_plain())
        events = (await self._send("list", "Event", namespace, reply)).get("items") or []
        newest = max(events, key=_event_time, default=None)
        return f"{newest.get('reason')}: {newest.get('message', '')}" if newest else ""

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object and return it as the API server has it."""
        resource = self._resource(manifest["apiVersion"], manifest["kind"])
        namespace = manifest["metadata"].get("namespace")
        reply = resource.create(body=manifest, namespace=namespace, field_manager=FIELD_MANAGER, **_plain())
        return await self._send("create", manifest["kind"], manifest["metadata"]["name"], reply)

    async def apply_status(self, manifest: Manifest) -> Manifest:
        """Server-side apply the status of an object; ``metadata.uid`` guards against a successor of its name."""
        resource = self._resource(manifest["apiVersion"], manifest["kind"])
        path = resource.path(name=manifest["metadata"]["name"], namespace=manifest["metadata"]["namespace"])
        reply = self._dynamic.request(
            "patch",
            f"{path}/status",
            body=manifest,
            content_type="application/apply-patch+yaml",
            field_manager=FIELD_MANAGER,
            force_conflicts=True,
            **_plain(),
        )
        return await self._send("apply", manifest["kind"], manifest["metadata"]["name"], reply)

    async def patch(self, ref: ObjectRef, patch: Manifest) -> Manifest:
        """Merge-patch an object."""
        resource = self._resource(ref.api_version, ref.kind)
        reply = resource.patch(
            body=patch,
            name=ref.name,
            namespace=ref.namespace,
            content_type="application/merge-patch+json",
            field_manager=FIELD_MANAGER,
            **_plain(),
        )
        return await self._send("patch", ref.kind, ref.name, reply)

    async def fail_pod(self, ref: ObjectRef, uid: str | None, condition: Manifest) -> Manifest:
        """Mark a pod as failed whose kubelet is gone and cannot do it; return the pod."""
        patch: Manifest = {"status": {"phase": "Failed", "conditions": [condition]}}
        if uid:
            patch["metadata"] = {"uid": uid}  # refused for a successor of its name
        resource = self._resource(ref.api_version, ref.kind)
        reply = self._dynamic.request(
            "patch",
            f"{resource.path(name=ref.name, namespace=ref.namespace)}/status",
            body=patch,
            content_type="application/strategic-merge-patch+json",  # which keeps the other conditions
            field_manager=FIELD_MANAGER,
            **_plain(),
        )
        return await self._send("patch", ref.kind, ref.name, reply)

    async def delete(self, ref: ObjectRef, uid: str | None = None, grace_seconds: int | None = None) -> None:
        """Delete an object and, in the background, what it owns.

        Parameters
        ----------
        ref
            What to delete.
        uid
            Delete only that very object, not a successor of its name.
        grace_seconds
            0 deletes a pod without waiting for its kubelet; None leaves the time to the pod.
        """
        resource = self._resource(ref.api_version, ref.kind)
        body: Manifest = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if uid:
            body["preconditions"] = {"uid": uid}
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        reply = resource.delete(name=ref.name, namespace=ref.namespace, body=body, **_plain())
        await self._send("delete", ref.kind, ref.name, reply)

    async def log_tail(self, namespace: str, pod: str, container: str, *, lines: int, previous: bool) -> str:
        """Return the last lines of a container's log; ``previous`` reads the one before its last restart."""
        path = self._resource("v1", "Pod").path(name=pod, namespace=namespace)
        query = [
            ("container", container),
            ("tailLines", str(lines)),
            ("limitBytes", str(LOG_LIMIT_BYTES)),
            ("previous", str(previous).lower()),
        ]
        reply = self._dynamic.request(
            "get",
            f"{path}/log",
            query_params=query,
            serialize=False,
            _request_timeout=aiohttp.ClientTimeout(total=LOG_TIMEOUT_SECONDS),
        )
        response: Any = await self._send("log", "Pod", pod, reply)
        return str(await response.text(errors="replace"))

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def _served_version(self, group: str) -> str | None:
        """Return the version of a group to use here; None where the group is not served.

        Notes
        -----
        Discovery needs no permission of our own. Source: Kubernetes, "Using RBAC Authorization", ClusterRole
        ``system:discovery`` of all authenticated users.
        """
        reply = self._dynamic.request("get", f"/apis/{group}", **_plain())
        try:
            found = await self._send("get", "APIGroup", group, reply)
        except ClusterError as error:
            if error.status == _NOT_FOUND:
                return None
            raise
        served = [each["version"] for each in found.get("versions") or []]
        known = [version for version in PREFERRED_VERSIONS[group] if version in served]
        return next(iter([*known, *served]), None)

    def _resource(self, api_version: str, kind: str, served: str | None = None) -> Resource:
        """Return how to reach a kind; ``served`` is the apiVersion where the table knows its group only."""
        try:
            plural, namespaced = RESOURCES[api_version, kind]
        except KeyError:
            raise PlanError(f"no entry in cluster.client.RESOURCES for {kind} of {api_version}") from None
        group, _, version = (served or api_version).rpartition("/")
        return Resource(
            prefix="apis" if group else "api",
            group=group,
            api_version=version,
            kind=kind,
            namespaced=namespaced,
            name=plural,
            client=self._dynamic,
        )

    async def _send(self, verb: str, kind: str, name: str, reply: Awaitable[Manifest]) -> Manifest:
        started = time.monotonic()
        status = 0
        try:
            answer = await reply
        except ApiException as error:
            status = error.status or 0
            raise ClusterError(verb, kind, name, status, _message(error)) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ClusterError(verb, kind, name, 0, str(error) or type(error).__name__) from error
        else:
            status = _CREATED if verb == "create" else _OK
            return answer
        finally:
            self._observe(verb, kind, status, time.monotonic() - started)


async def connect(observe: Observe) -> Client:
    """Connect as the pod's service account or, outside a cluster, as KUBECONFIG says."""
    configuration = Configuration()
    try:
        load_incluster_config(client_configuration=configuration)
    except ConfigException:
        await load_kube_config(client_configuration=configuration)
    # With trust_env aiohttp reads ~/.netrc and the proxies anew for each request, each in a thread that the request
    # waits for. No API server's credentials are in a netrc file, and the proxy is looked up once, here.
    configuration.proxy = configuration.proxy or proxy_for(configuration.host)
    configuration.client_session_kwargs = {"trust_env": False}
    return Client(ApiClient(configuration), observe)


def proxy_for(url: str) -> str | None:
    """Return the proxy that the environment (HTTPS_PROXY, HTTP_PROXY, NO_PROXY) names for an address, if any."""
    parts = urllib.parse.urlsplit(url)
    if urllib.request.proxy_bypass(parts.netloc):
        return None
    return urllib.request.getproxies().get(parts.scheme)


def _plain() -> dict[str, Any]:
    return {
        "serializer": lambda _client, data: data,
        "_request_timeout": aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_SECONDS),
    }


def _event_time(event: Manifest) -> str:
    """Return when an event was last seen, as text that sorts by time to the second."""
    series = (event.get("series") or {}).get("lastObservedTime")
    at = series or event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp")
    return str(at or "")[:19]


def _message(error: ApiException) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason or "")
