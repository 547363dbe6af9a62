"""A stand-in for the API server: objects in memory, with create, get, list, watch, replace, patch and delete.

It replies as the real one does, where that costs the operator time: full objects with ``managedFields``, a watch event
for each change, lists in pages. It checks neither objects nor permissions.
"""

import asyncio
import contextlib
import copy
import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from fusionrun.cluster.resources import RESOURCES

Manifest = dict[str, Any]
Key = tuple[str, str]
"""Namespace and name."""

KINDS = {
    f"/{'apis' if '/' in api_version else 'api'}/{api_version}": [
        (plural, kind, namespaced) for (found, kind), (plural, namespaced) in RESOURCES.items() if found == api_version
    ]
    for api_version, _ in RESOURCES
    if api_version != "kueue.x-k8s.io"
}
"""Plural, kind and whether it is namespaced, by the path of each API version."""
GROUPS = {
    group: {"name": group, "versions": [version], "preferredVersion": version}
    for base in KINDS
    for prefix, _, name in [base.rpartition("/")]
    if (group := prefix.removeprefix("/apis/")) != "/api"
    for version in [{"groupVersion": f"{group}/{name}", "version": name}]
}
"""The groups as the discovery API lists them. The simulated cluster serves every kind that the operator knows."""
API_VERSIONS = {kind: api_version for api_version, kind in RESOURCES}


class ApiServer:
    """The objects, the watches, and the number of requests by verb and kind."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[Key, Manifest]] = defaultdict(dict)
        self.requests: Counter[str] = Counter()
        self.events_sent = 0
        self.observers: list[Callable[[str, Manifest], None]] = []
        """Called with every change, for the simulated controllers."""
        self._watches: dict[str, list[asyncio.Queue[bytes]]] = defaultdict(list)
        self._history: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
        """Version and line of every event by kind, for a watch that starts at the version of a list."""
        self._versions = itertools.count(1000)
        self._uids = itertools.count(1)

    def application(self) -> web.Application:
        """Return the web application."""
        application = web.Application(client_max_size=8 << 20)
        application.router.add_route("*", "/{path:.*}", self._reply)
        return application

    def reset_counts(self) -> None:
        """Count requests and watch events from now on."""
        self.requests.clear()
        self.events_sent = 0

    def create(self, manifest: Manifest) -> Manifest:
        """Store a new object."""
        metadata = {"namespace": "", **manifest["metadata"]}
        metadata["uid"] = f"00000000-0000-4000-8000-{next(self._uids):012x}"
        metadata["creationTimestamp"] = now()
        return self._store("ADDED", {**manifest, "metadata": {**metadata, "generation": 1}})

    def update(self, kind: str, key: Key, change: Manifest) -> Manifest | None:
        """Merge a change into an object; return None if it is gone."""
        known = self.objects[kind].get(key)
        return None if known is None else self._store("MODIFIED", merge(known, change))

    def remove(self, kind: str, key: Key) -> None:
        """Delete an object."""
        if known := self.objects[kind].get(key):
            self._store("DELETED", known)

    def _store(self, change: str, manifest: Manifest) -> Manifest:
        metadata = {**manifest["metadata"], "resourceVersion": str(next(self._versions))}
        if change == "ADDED":
            fields = {k: v for k, v in manifest.items() if k not in ("apiVersion", "kind")}
            manager = {"manager": "bench", "operation": "Update", "apiVersion": manifest["apiVersion"], "time": now()}
            metadata["managedFields"] = [{**manager, "fieldsType": "FieldsV1", "fieldsV1": _fields(fields)}]
        manifest = {**manifest, "metadata": metadata}
        kind, key = manifest["kind"], (metadata["namespace"], metadata["name"])
        if change == "DELETED":
            self.objects[kind].pop(key, None)
        else:
            self.objects[kind][key] = manifest
        line = json.dumps({"type": change, "object": manifest}).encode() + b"\n"
        self._history[kind].append((int(metadata["resourceVersion"]), line))
        self.events_sent += len(self._watches[kind])
        for watch in self._watches[kind]:
            watch.put_nowait(line)
        for observe in self.observers:
            observe(change, manifest)
        return manifest

    async def _reply(self, request: web.Request) -> web.StreamResponse:
        if (found := _discovery(request.path)) is not None:
            return web.json_response(found)
        parts = request.path.strip("/").split("/")
        size = 2 if parts[0] == "api" else 3
        base, rest = "/" + "/".join(parts[:size]), parts[size:]
        namespace = ""
        if rest[:1] == ["namespaces"] and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        kinds = {plural: kind for plural, kind, _ in KINDS.get(base, ())}
        if not rest or rest[0] not in kinds:
            return _status(404)
        kind, name, sub = kinds[rest[0]], *(rest[1:3] + [""] * 2)[:2]
        verb = "watch" if "watch" in request.query else f"{request.method.lower()}{' status' if sub else ''}"
        if verb == "watch":
            return await self._watch(request, kind)
        self.requests[f"{verb} {kind}"] += 1
        if not name and request.method == "GET":
            return web.json_response(self._list(kind, request.query))
        return self._one(request.method, kind, (namespace, name), await request.json() if request.can_read_body else {})

    def _one(self, method: str, kind: str, key: Key, body: Manifest) -> web.Response:  # noqa: PLR0911 -- one per method
        if method == "POST":
            key = (body["metadata"].get("namespace", ""), body["metadata"]["name"])
            if key in self.objects[kind]:
                return _status(409)
            return web.json_response(self.create(body), status=201)
        if (known := self.objects[kind].get(key)) is None:
            return _status(404)
        if method == "GET":
            return web.json_response(known)
        if method == "DELETE":
            self.remove(kind, key)
            return _status(200)
        version = body.get("metadata", {}).get("resourceVersion", known["metadata"]["resourceVersion"])
        if version != known["metadata"]["resourceVersion"]:
            return _status(409)
        if method == "PATCH" and kind != "FusionRun":
            return web.json_response(self.update(kind, key, body))
        return web.json_response(self._store("MODIFIED", {**known, "status": body.get("status", {})}))

    def _list(self, kind: str, query: Any) -> Manifest:
        """Return a page of the objects that a label selector ``key`` or ``key=value,key=value`` selects."""
        terms = [term.partition("=") for term in query.get("labelSelector", "").split(",") if term]

        def selected(labels: dict[str, str]) -> bool:
            return all(labels.get(key) == value if equals else key in labels for key, equals, value in terms)

        found = [m for m in self.objects[kind].values() if selected(m["metadata"].get("labels", {}))]
        start, limit = int(query.get("continue") or 0), int(query.get("limit") or len(found) or 1)
        more = {"continue": str(start + limit)} if start + limit < len(found) else {}
        items = [{k: v for k, v in m.items() if k not in ("apiVersion", "kind")} for m in found[start : start + limit]]
        version = str(next(self._versions))
        return {
            "kind": f"{kind}List",
            "apiVersion": API_VERSIONS[kind],
            "metadata": {"resourceVersion": version, **more},
            "items": items,
        }

    async def _watch(self, request: web.Request, kind: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        since = int(request.query.get("resourceVersion") or 0)
        for version, line in self._history[kind]:
            if version > since:
                queue.put_nowait(line)
        self._watches[kind].append(queue)
        try:
            with contextlib.suppress(ConnectionError):  # the operator has stopped
                await response.prepare(request)
                while True:
                    await response.write(await queue.get())
        finally:
            self._watches[kind].remove(queue)
        return response


def _discovery(path: str) -> Manifest | None:
    if path == "/api":
        return {"versions": ["v1"]}
    if path == "/apis":
        return {"groups": list(GROUPS.values())}
    if path.removeprefix("/apis/") in GROUPS:
        return GROUPS[path.removeprefix("/apis/")]
    if path not in KINDS:
        return None
    verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
    return {
        "resources": [
            {"name": plural, "singularName": "", "kind": kind, "namespaced": namespaced, "verbs": verbs}
            for plural, kind, namespaced in KINDS[path]
        ]
    }


def merge(value: Any, change: Any) -> Any:
    """Return a value with a merge patch (RFC 7396), without its removals."""
    if not (isinstance(value, dict) and isinstance(change, dict)):
        return copy.deepcopy(change)
    return value | {key: merge(value.get(key), below) for key, below in change.items()}


def now() -> str:
    """Return the time as the API server writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _fields(value: Any) -> Any:
    """Return the field set of an object, about as large as the API server's."""
    if isinstance(value, dict):
        return {f"f:{key}": _fields(below) for key, below in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return {f'k:{{"name":"{n}"}}': {".": {}, **_fields(item)} for n, item in enumerate(value)}
    return {}


def _status(code: int) -> web.Response:
    return web.json_response({"kind": "Status", "code": code, "message": "bench", "metadata": {}}, status=code)
