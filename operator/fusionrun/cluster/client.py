"""A small Kubernetes client: objects are plain dicts, and every failure is a ``ClusterError``.

Paths come from ``resources.RESOURCES``. Only the version of a group in ``PREFERRED_VERSIONS`` is discovered, at each
request, since the group may be installed or upgraded at any time. The client neither retries nor caches.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
from kubernetes.aio.client import ApiClient
from kubernetes.aio.dynamic import DynamicClient, Resource
from pydantic_core import from_json

from fusionrun.api.contract import Manifest
from fusionrun.cluster.discovery import Discovery
from fusionrun.cluster.requests import CONNECTION_ERRORS, REQUEST_TIMEOUT_SECONDS, Observe, Requests, plain
from fusionrun.cluster.resources import PREFERRED_VERSIONS, RESOURCES
from fusionrun.errors import ClusterError, PlanError
from fusionrun.names import FIELD_MANAGER
from fusionrun.state.observe.object_ref import ObjectRef, ref_of

LIST_PAGE_SIZE = 20
"""Maximum number of objects in one page of a list.

A page is in memory as text and as parsed objects, among which the objects that are kept are allocated, so Python
returns little of that memory. Measured after a start with 11 finished runs: 87 to 89 MiB with 100 objects, 84 with 20.
"""
LOG_TIMEOUT_SECONDS, LOG_LIMIT_BYTES = 5.0, 16384
WATCH_SECONDS = 240
"""Time after which the API server ends a watch, so that a client continues on another connection."""
SILENCE_SECONDS = 75.0
"""Time without data after which the connection of a watch counts as lost: bookmarks arrive about once per minute."""

_FORBIDDEN = 403

Guard = Callable[[], None]
"""Called before every write; raises an error if it must not be sent."""


def no_guard() -> None:
    """Allow every write."""


@dataclass(frozen=True)
class Page:
    """A part of a list."""

    items: list[Manifest]
    """The caller may empty the list to free objects one by one."""
    version: str
    """The resourceVersion of the whole list."""


class Client:
    """Requests to one API server, with a client of the Kubernetes library from ``connect``."""

    def __init__(self, api: ApiClient, observe: Observe, guard: Guard = no_guard) -> None:
        self._api = api
        self._guard = guard
        self._dynamic = DynamicClient(api)
        self._discovery = Discovery(self._read)
        self._requests = Requests(observe)

    @property
    def server(self) -> str:
        """The address of the API server."""
        return str(self._api.configuration.host)

    async def get(self, ref: ObjectRef) -> Manifest:
        """Return an object."""
        resource = self._resource(ref.api_version, ref.kind)
        reply = resource.get(name=ref.name, namespace=ref.namespace or None, **plain())
        return await self._requests.send("get", ref.kind, ref.name, reply)

    async def exists(self, ref: ObjectRef) -> bool:
        """Return whether an object exists. Reads only its metadata.

        ``ref.api_version`` may be a group of ``PREFERRED_VERSIONS``; kind ``APIGroup`` is that group itself. A
        CustomResourceDefinition exists when the API server serves its kind.
        """
        if ref.kind == "CustomResourceDefinition":
            return await self._discovery.serves(ref.name)
        api_version = ref.api_version
        if ref.api_version in PREFERRED_VERSIONS:
            version = await self._discovery.version(ref.api_version)
            if version is None or ref.kind == "APIGroup":
                return version is not None
            api_version = f"{ref.api_version}/{version}"
        resource = self._resource(ref.api_version, ref.kind, api_version)
        headers = {"Accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"}
        reply = resource.get(name=ref.name, namespace=ref.namespace or None, header_params=headers, **plain())
        return await self._requests.send_or_none("get", ref.kind, ref.name, reply) is not None

    async def pages(
        self,
        api_version: str,
        kind: str,
        namespace: str = "",
        label_selector: str | None = None,
        *,
        field_selector: str | None = None,
        page_size: int = LIST_PAGE_SIZE,
    ) -> AsyncIterator[Page]:
        """Yield the objects of a kind page by page; one empty page if the kind does not exist.

        All pages show the state of the first one. The reads are consistent: with ``resourceVersion=0``, an API server
        would reply from its watch cache, ignore ``limit``, and send the whole list at once, possibly of an old state.

        Raises
        ------
        ClusterError
            With status 410 if the API server no longer has the state of the first page: start again.
        """
        resource = self._resource(api_version, kind)
        token = None
        while True:
            options = {"namespace": namespace or None, "label_selector": label_selector, "_continue": token}
            reply = resource.get(**options, field_selector=field_selector, limit=page_size, **plain())
            page = await self._requests.send_or_none("list", kind, namespace or "*", reply) or {"metadata": {}}
            items = page.pop("items", None) or []
            for item in items:  # items of a list have neither apiVersion nor kind
                item["apiVersion"], item["kind"] = api_version, kind
            token = page["metadata"].get("continue")
            yield Page(items, page["metadata"].get("resourceVersion") or "0")
            if not token:
                return

    async def watch(
        self, api_version: str, kind: str, namespace: str, label_selector: str | None, version: str
    ) -> AsyncIterator[tuple[str, Manifest]]:
        """Yield type and object of every change after a resourceVersion, until the API server ends the watch.

        Bookmarks are included. Without a version, the first events are ADDED, one for each object that exists.

        Raises
        ------
        ClusterError
            With status 410 if the API server no longer has the version: watch without one.
        """
        path = self._resource(api_version, kind).path(namespace=namespace or None)
        query = {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(WATCH_SECONDS)}
        query |= {"labelSelector": label_selector} if label_selector else {}
        query |= {"resourceVersion": version} if version else {}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_TIMEOUT_SECONDS, sock_read=SILENCE_SECONDS)
        options = {"query_params": list(query.items()), "serialize": False, "_request_timeout": timeout}
        reply = self._dynamic.request("get", path, **options)
        response: Any = await self._requests.send("watch", kind, namespace or "*", reply)
        try:
            async for line in response.content:
                event = from_json(line)
                manifest: Manifest = event["object"]
                if event["type"] == "ERROR":
                    code, message = int(manifest.get("code") or 0), str(manifest.get("message"))
                    raise ClusterError("watch", kind, namespace or "*", code, message)
                yield event["type"], manifest
        except (*CONNECTION_ERRORS, ValueError) as error:  # ValueError: the end of a line is cut
            raise ClusterError("watch", kind, namespace or "*", 0, str(error) or type(error).__name__) from error
        finally:
            response.close()

    async def list_served(self, group: str, kind: str, namespace: str, label_selector: str) -> list[Manifest] | None:
        """Return the objects of a kind in a group of ``PREFERRED_VERSIONS``; None if the cluster has no such kind."""
        version = await self._discovery.version(group)
        if version is None:
            return None
        resource = self._resource(group, kind, f"{group}/{version}")
        reply = resource.get(namespace=namespace, label_selector=label_selector, **plain())
        found = await self._requests.send_or_none("list", kind, namespace, reply)
        if found is None:
            return None
        items: list[Manifest] = found.get("items") or []
        return [{**item, "apiVersion": f"{group}/{version}", "kind": kind} for item in items]

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object; return it as stored by the API server."""
        self._guard()
        resource = self._resource(manifest["apiVersion"], manifest["kind"])
        namespace = manifest["metadata"].get("namespace")
        reply = resource.create(body=manifest, namespace=namespace, field_manager=FIELD_MANAGER, **plain())
        return await self._requests.send("create", manifest["kind"], manifest["metadata"]["name"], reply)

    async def replace(self, manifest: Manifest) -> Manifest:
        """Replace an object that still has the resourceVersion in ``manifest``.

        Raises
        ------
        ClusterError
            With status 409 if it has changed.
        """
        self._guard()
        resource = self._resource(manifest["apiVersion"], manifest["kind"])
        namespace = manifest["metadata"].get("namespace")
        reply = resource.replace(body=manifest, namespace=namespace, field_manager=FIELD_MANAGER, **plain())
        return await self._requests.send("replace", manifest["kind"], manifest["metadata"]["name"], reply)

    async def may_list(self, api_version: str, kind: str) -> bool:
        """Return whether the operator may list the objects of a kind in the whole cluster."""
        try:
            await self._requests.send("list", kind, "*", self._resource(api_version, kind).get(limit=1, **plain()))
        except ClusterError as error:
            if error.status != _FORBIDDEN:
                raise
            return False
        return True

    async def apply_status(self, manifest: Manifest) -> Manifest:
        """Apply the status of an object (server-side apply) that has the UID in ``metadata.uid``."""
        content_type = "application/apply-patch+yaml"
        return await self._patch("apply", ref_of(manifest), manifest, content_type, "/status", force_conflicts=True)

    async def patch(self, ref: ObjectRef, patch: Manifest) -> Manifest:
        """Merge-patch an object."""
        return await self._patch("patch", ref, patch, "application/merge-patch+json")

    async def fail_pod(self, ref: ObjectRef, uid: str | None, condition: Manifest) -> Manifest:
        """Mark a pod on a lost node as failed; return the pod."""
        patch: Manifest = {"status": {"phase": "Failed", "conditions": [condition]}}
        if uid:
            patch["metadata"] = {"uid": uid}  # rejected for a new pod of the same name
        # A strategic merge patch keeps the other conditions.
        return await self._patch("patch", ref, patch, "application/strategic-merge-patch+json", "/status")

    async def delete(self, ref: ObjectRef, uid: str | None = None, grace_seconds: int | None = None) -> None:
        """Delete an object, if it has the UID, and in the background its dependents.

        ``grace_seconds`` of 0 force-deletes a pod; None uses the grace period of the pod.
        """
        self._guard()
        resource = self._resource(ref.api_version, ref.kind)
        body: Manifest = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if uid:
            body["preconditions"] = {"uid": uid}
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        reply = resource.delete(name=ref.name, namespace=ref.namespace, body=body, **plain())
        await self._requests.send("delete", ref.kind, ref.name, reply)

    async def log_tail(self, namespace: str, pod: str, container: str, *, lines: int, previous: bool) -> str:
        """Return the last lines of a container's log; with ``previous`` the log from before its last restart."""
        path = self._resource("v1", "Pod").path(name=pod, namespace=namespace)
        query = {"container": container, "tailLines": lines, "limitBytes": LOG_LIMIT_BYTES}
        parameters = [*((key, str(value)) for key, value in query.items()), ("previous", str(previous).lower())]
        timeout = aiohttp.ClientTimeout(total=LOG_TIMEOUT_SECONDS)
        reply = self._dynamic.request(
            "get", f"{path}/log", query_params=parameters, serialize=False, _request_timeout=timeout
        )
        response: Any = await self._requests.send("log", "Pod", pod, reply)
        return str(await response.text(errors="replace"))

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def _read(self, path: str, kind: str, name: str) -> Manifest | None:
        return await self._requests.send_or_none("get", kind, name, self._dynamic.request("get", path, **plain()))

    def _resource(self, api_version: str, kind: str, served: str | None = None) -> Resource:
        """Return the resource of a kind; ``served`` is the apiVersion if the table has only its group."""
        try:
            plural, namespaced = RESOURCES[api_version, kind]
        except KeyError:
            raise PlanError(f"cluster.resources.RESOURCES has no entry for {kind} of {api_version}") from None
        group, _, version = (served or api_version).rpartition("/")
        return Resource("apis" if group else "api", group, version, kind, namespaced, name=plural, client=self._dynamic)

    async def _patch(
        self, verb: str, ref: ObjectRef, body: Manifest, content_type: str, subresource: str = "", **options: Any
    ) -> Manifest:
        self._guard()
        path = self._resource(ref.api_version, ref.kind).path(name=ref.name, namespace=ref.namespace)
        options |= {"body": body, "content_type": content_type, "field_manager": FIELD_MANAGER}
        reply = self._dynamic.request("patch", path + subresource, **options, **plain())
        return await self._requests.send(verb, ref.kind, ref.name, reply)
