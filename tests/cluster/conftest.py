"""An API server in memory, with only the calls of cluster/."""

from typing import Any

import pytest

from fusionrun.cluster.client import Page
from fusionrun.cluster.store import Store
from fusionrun.errors import ClusterError
from fusionrun.names import API_VERSION, KIND, LABEL_RUN
from fusionrun.state.observe.object_ref import ObjectRef, ref_of
from support.async_tests import pytest_pyfunc_call

__all__ = ["pytest_pyfunc_call"]

Manifest = dict[str, Any]


class FakeClient:
    """Stores objects, records calls, and fails for chosen verbs and kinds."""

    def __init__(self) -> None:
        self.objects: dict[ObjectRef, Manifest] = {}
        self.calls: list[tuple[str, str, str]] = []
        self.fail: dict[tuple[str, str], ClusterError] = {}
        self.logs: dict[str, str] = {}
        self.warnings: dict[str, str] = {}
        """Reason and message of the Warning event of an object, by its UID."""
        self.kueue: list[Manifest] | None = None
        """The Workloads of Kueue; None without Kueue."""
        self.failed: list[tuple[str, str | None, str]] = []
        self.graces: dict[str, int | None] = {}
        self.version = 100
        self.page_size = 500
        self.expirations = 0
        """How many continued lists fail with status 410."""

    def add(self, *manifests: Manifest) -> None:
        self.objects |= {ref_of(manifest): manifest for manifest in manifests}

    def fail_on(self, verb: str, kind: str, status: int, message: str) -> None:
        self.fail[verb, kind] = ClusterError(verb, kind, "x", status, message)

    def _call(self, verb: str, ref: ObjectRef) -> None:
        self.calls.append((verb, ref.kind, ref.name))
        if (verb, ref.kind) in self.fail:
            raise self.fail[verb, ref.kind]

    def _written(self, ref: ObjectRef, **fields: Any) -> Manifest:
        self.version += 1
        known = self.objects[ref]
        metadata = {**known["metadata"], "resourceVersion": str(self.version)}
        self.objects[ref] = {**known, "metadata": metadata, **fields}
        return self.objects[ref]

    def verbs(self) -> list[str]:
        return [f"{verb} {kind}" for verb, kind, _ in self.calls]

    async def get(self, ref: ObjectRef) -> Manifest:
        self._call("get", ref)
        if ref not in self.objects:
            raise ClusterError("get", ref.kind, ref.name, 404, "not found")
        return self.objects[ref]

    async def exists(self, ref: ObjectRef) -> bool:
        self._call("exists", ref)
        return ref in self.objects

    async def pages(self, api_version: str, kind: str, namespace: str = "", selector: str | None = None, **_: Any):
        """Yield pages of ``page_size``; selectors ``key=value`` are applied, selectors ``key`` are ignored."""
        if kind == "Event":
            self._call("list", ObjectRef(api_version, kind, namespace, ""))
            yield Page([_event(uid, text) for uid, text in self.warnings.items()], str(self.version))
            return
        wanted = dict(part.split("=") for part in (selector or "").split(",") if "=" in part)
        found = [
            o
            for r, o in self.objects.items()
            if (r.api_version, r.kind) == (api_version, kind)
            and namespace in ("", o["metadata"]["namespace"])
            and wanted.items() <= (o["metadata"].get("labels") or {}).items()
        ]
        version = str(self.version)
        for start in range(0, len(found) or 1, self.page_size):
            self._call("list", ObjectRef(api_version, kind, namespace, ""))
            if start and self.expirations:
                self.expirations -= 1
                raise ClusterError("list", kind, namespace, 410, "the provided continue parameter is too old")
            yield Page(found[start : start + self.page_size], version)

    async def create(self, manifest: Manifest) -> Manifest:
        ref = ref_of(manifest)
        self._call("create", ref)
        if ref in self.objects:
            raise ClusterError("create", ref.kind, ref.name, 409, "already exists")
        self.version += 1
        metadata = {**manifest["metadata"], "uid": f"uid-{self.version}", "resourceVersion": str(self.version)}
        self.objects[ref] = {**manifest, "metadata": metadata}
        return self.objects[ref]

    async def replace(self, manifest: Manifest) -> Manifest:
        ref = ref_of(manifest)
        self._call("replace", ref)
        if self.objects[ref]["metadata"]["resourceVersion"] != manifest["metadata"]["resourceVersion"]:
            raise ClusterError("replace", ref.kind, ref.name, 409, "the object has been modified")
        return self._written(ref, **{key: value for key, value in manifest.items() if key != "metadata"})

    async def apply_status(self, manifest: Manifest) -> Manifest:
        ref = ref_of(manifest)
        self._call("apply", ref)
        return self._written(ref, status=manifest["status"])

    async def patch(self, ref: ObjectRef, patch: Manifest) -> Manifest:
        self._call("patch", ref)
        self.objects[ref] = {**self.objects[ref], **patch}
        return self.objects[ref]

    async def fail_pod(self, ref: ObjectRef, uid: str | None, condition: Manifest) -> Manifest:
        self._call("fail", ref)
        self.failed.append((ref.name, uid, condition["type"]))
        return self._written(ref, status={**self.objects[ref].get("status", {}), "phase": "Failed"})

    async def delete(self, ref: ObjectRef, uid: str | None = None, grace_seconds: int | None = None) -> None:
        self._call("delete", ref)
        self.graces[ref.name] = grace_seconds
        if ref not in self.objects:
            raise ClusterError("delete", ref.kind, ref.name, 404, "not found")
        del self.objects[ref]

    async def log_tail(self, namespace: str, pod: str, container: str, *, lines: int, previous: bool) -> str:
        self._call("log", ObjectRef("v1", "Pod", namespace, pod))
        if pod not in self.logs:
            raise ClusterError("log", "Pod", pod, 404, "not found")
        return self.logs[pod]

    async def list_served(self, group: str, kind: str, namespace: str, selector: str) -> list[Manifest] | None:
        """Return the objects whose label has one of the values of a selector ``key in (value,value)``."""
        self._call("list", ObjectRef(group, kind, namespace, selector))
        key, _, values = selector.removesuffix(")").partition(" in (")
        wanted = values.split(",")
        return None if self.kueue is None else [m for m in self.kueue if m["metadata"]["labels"][key] in wanted]


def _event(uid: str, text: str) -> Manifest:
    reason, _, message = text.partition(": ")
    return {"metadata": {}, "involvedObject": {"uid": uid}, "type": "Warning", "reason": reason, "message": message}


class Make:
    """Builds minimal objects of one run."""

    def run(self, version: int = 1, **metadata: Any) -> Manifest:
        own = {"name": "tiny", "namespace": "demo", "uid": "run-uid", "resourceVersion": str(version), **metadata}
        return {"apiVersion": API_VERSION, "kind": KIND, "metadata": own, "spec": {}}

    def finished_run(self, version: int = 1) -> Manifest:
        return {**self.run(version), "status": {"conditions": [{"type": "Finished", "status": "True"}]}}

    def child(self, kind: str, name: str, version: int = 1, owner: str = "run-uid", **more: Any) -> Manifest:
        api_versions = {"Job": "batch/v1", "Deployment": "apps/v1", "PyTorchJob": "kubeflow.org/v1"}
        metadata = {
            "name": name,
            "namespace": "demo",
            "uid": f"{name}-uid",
            "resourceVersion": str(version),
            "labels": {LABEL_RUN: "tiny"},
            "ownerReferences": [{"kind": KIND, "uid": owner, "name": more.pop("owner_name", "tiny")}],
            **more.pop("metadata", {}),
        }
        return {"apiVersion": api_versions.get(kind, "v1"), "kind": kind, "metadata": metadata, **more}


@pytest.fixture
def make() -> Make:
    return Make()


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture
def store() -> Store:
    return Store()
