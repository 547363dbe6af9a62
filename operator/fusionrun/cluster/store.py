"""What the API server last told us, by object: fed by watches, lists and the replies to our own writes.

The newer resourceVersion wins, whatever order the news comes in, so that a slow watch never undoes a reply that we
have seen already (read your writes), and a deleted object stays deleted. No I/O and no clock.
"""

from collections.abc import Iterable

from fusionrun.api.models import Manifest
from fusionrun.names import API_VERSION, KIND, LABEL_RUN
from fusionrun.state.live import ObjectRef

UNREAD_SPEC = {
    "Pod": frozenset({"containers", "initContainers", "volumes", "tolerations", "affinity"}),
    "Job": frozenset({"template"}),
    "PyTorchJob": frozenset({"pytorchReplicaSpecs"}),
}
"""What of an object's spec is not kept, by kind."""


def ref_of(manifest: Manifest) -> ObjectRef:
    """Return the reference of an object."""
    metadata = manifest["metadata"]
    return ObjectRef(manifest["apiVersion"], manifest["kind"], metadata.get("namespace") or "", metadata["name"])


def run_ref(namespace: str, name: str) -> ObjectRef:
    """Return the reference of a FusionRun."""
    return ObjectRef(API_VERSION, KIND, namespace, name)


def run_of(manifest: Manifest) -> ObjectRef | None:
    """Return the run that an object belongs to by its label, or the run itself; None for a stranger."""
    metadata = manifest["metadata"]
    if manifest["kind"] == KIND:
        return ref_of(manifest)
    name = (metadata.get("labels") or {}).get(LABEL_RUN)
    return run_ref(metadata.get("namespace") or "", name) if name else None


class Store:
    """Objects by reference, with the two ways that we look them up: by run, and pods by address."""

    def __init__(self) -> None:
        self._objects: dict[ObjectRef, Manifest] = {}
        self._deleted: dict[ObjectRef, int] = {}
        self._children: dict[ObjectRef, set[ObjectRef]] = {}
        self._pods: dict[str, ObjectRef] = {}
        self._listed: dict[tuple[str, str, str], int] = {}

    def put(self, manifest: Manifest) -> bool:
        """Keep an object unless we know a newer state of it; return whether it was news."""
        ref, version = ref_of(manifest), _version(manifest)
        known = self._objects.get(ref)
        if (known is not None and _version(known) >= version) or self._deleted.get(ref, -1) >= version:
            return False
        if known is not None:
            self._forget(ref)
        self._deleted.pop(ref, None)
        self._objects[ref] = _what_is_read(manifest)
        run = run_of(manifest)
        if run is not None and run != ref:
            self._children.setdefault(run, set()).add(ref)
        address = _address(manifest)
        if address:
            self._pods[address] = ref
        return True

    def remove(self, ref: ObjectRef, version: str = "") -> bool:
        """Forget a deleted object and remember that it went; return whether it was news."""
        known = self._objects.get(ref)
        gone_at = max(int(version or 0), _version(known) if known else 0)
        if known is not None and version and _version(known) > int(version):
            return False
        self._deleted[ref] = gone_at
        if known is None:
            return False
        self._forget(ref)
        return True

    def replace(
        self, api_version: str, kind: str, namespace: str, listed: Iterable[Manifest], version: str
    ) -> list[Manifest]:
        """Take over a whole list; return what is news: new or changed objects, and those that are gone."""
        scope = (api_version, kind, namespace)
        listed_at = int(version)
        news: list[Manifest] = []
        present: set[ObjectRef] = set()
        for manifest in listed:
            present.add(ref_of(manifest))
            if self.put(manifest):
                news.append(manifest)
        for ref, known in list(self._objects.items()):
            in_scope = (ref.api_version, ref.kind) == scope[:2] and namespace in ("", ref.namespace)
            if in_scope and ref not in present and _version(known) <= listed_at:
                news.append(known)
                self.remove(ref, version)
        # A late reply is seconds old at most, so a deletion before the previous list needs no memory any more.
        before = self._listed.get(scope, -1)
        for ref, gone_at in list(self._deleted.items()):
            if (ref.api_version, ref.kind) == scope[:2] and gone_at < before:
                del self._deleted[ref]
        self._listed[scope] = listed_at
        return news

    def get(self, ref: ObjectRef) -> Manifest | None:
        """Return an object, or None."""
        return self._objects.get(ref)

    def runs(self) -> list[Manifest]:
        """Return every FusionRun."""
        return [manifest for ref, manifest in self._objects.items() if ref.kind == KIND]

    def children(self, run: ObjectRef) -> list[Manifest]:
        """Return what carries the run's label, in a stable order."""
        return [self._objects[ref] for ref in sorted(self._children.get(run, ()))]

    def pod_at(self, address: str) -> Manifest | None:
        """Return the pod with this address that is alive, or None."""
        ref = self._pods.get(address)
        return self._objects.get(ref) if ref else None

    def _forget(self, ref: ObjectRef) -> None:
        known = self._objects.pop(ref)
        run = run_of(known)
        if run is not None and run in self._children:
            self._children[run].discard(ref)
            if not self._children[run]:
                del self._children[run]
        address = _address(known)
        if address and self._pods.get(address) == ref:
            del self._pods[address]


def _what_is_read(manifest: Manifest) -> Manifest:
    """Leave out what nobody here reads, the larger part of most objects: they are held for as long as their run."""
    kept = {**manifest, "metadata": {k: v for k, v in manifest["metadata"].items() if k != "managedFields"}}
    unread = UNREAD_SPEC.get(manifest["kind"])
    if unread and "spec" in manifest:
        kept["spec"] = {k: v for k, v in manifest["spec"].items() if k not in unread}
    return kept


def _version(manifest: Manifest) -> int:
    # Source: Kubernetes API concepts, resource versions: comparable as integers since v1.35 (KEP-5504), and
    # revisions of etcd before.
    return int(manifest["metadata"].get("resourceVersion") or 0)


def _address(manifest: Manifest) -> str | None:
    # An ended pod's address may be another's already, and a pod on the host's network has the node's.
    if manifest["kind"] != "Pod":
        return None
    status = manifest.get("status") or {}
    alive = status.get("phase") in ("Pending", "Running") and not (manifest.get("spec") or {}).get("hostNetwork")
    return status.get("podIP") if alive else None
