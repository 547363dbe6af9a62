"""The last known state of each object, from watches, lists and the replies to the operator's writes.

The newer resourceVersion is kept, so that a late watch event neither overwrites the reply to a write nor restores a
deleted object. This module does no I/O and reads no clock.
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from operator import attrgetter

from fusionrun.api.contract import Manifest
from fusionrun.cluster.makers import Makers
from fusionrun.cluster.trim import trim
from fusionrun.names import KIND
from fusionrun.state.observe.object_fields import is_finished
from fusionrun.state.observe.object_ref import ObjectRef, owned_by, ref_of, run_of

_BY_NAME = attrgetter("kind", "name")


class Store:
    """Objects by reference, with three indexes: objects by run, workloads by artifact, and pods by address."""

    def __init__(self) -> None:
        self._objects: dict[ObjectRef, Manifest] = {}
        self.deleted: dict[ObjectRef, int] = {}
        self._deleting: dict[str, str] = {}
        """Time of each deletion that the API server has accepted and no watch has reported yet, by UID."""
        self._children: dict[ObjectRef, set[ObjectRef]] = {}
        self._makers = Makers()
        self._pods: dict[str, ObjectRef] = {}
        self._finished: set[ObjectRef] = set()
        self._incomplete: set[ObjectRef] = set()
        """Runs that were finished and are not any more: they lack objects, of which only a part was stored."""
        self._listed: dict[tuple[str, str, str], int] = {}

    def put(self, manifest: Manifest) -> bool:
        """Store the trimmed object unless a newer state is known; return whether a field that is kept has changed."""
        ref, version = ref_of(manifest), _version(manifest)
        known = self._objects.get(ref)
        if (known is not None and _version(known) >= version) or self.deleted.get(ref, -1) >= version:
            return False
        kept = trim(manifest, finished=run_of(manifest) in self._finished)
        self._restore_deletion(kept)
        if known is not None and _same(known, kept):
            self._renew(ref, known, kept)
            return False
        was_finished = ref in self._finished
        if known is not None:
            self._forget(ref)
            old_uid = known["metadata"].get("uid")
            if old_uid != manifest["metadata"].get("uid"):  # no watch reports the old object any more
                self._deleting.pop(old_uid or "", None)
        self.deleted.pop(ref, None)
        self._add(kept)
        if ref.kind == KIND and is_finished(kept):
            self._finish(ref)
        elif was_finished:
            self._continue(ref)
        return True

    def _renew(self, ref: ObjectRef, known: Manifest, kept: Manifest) -> None:
        """Store a new version without a change: a controller has counted pods, or a finalizer is gone."""
        if ref.kind == KIND:  # a decision in progress keeps the version of the run that it has read
            self._objects[ref] = kept
        else:
            known["metadata"]["resourceVersion"] = kept["metadata"]["resourceVersion"]

    def _add(self, kept: Manifest) -> None:
        ref, run = ref_of(kept), run_of(kept)  # share the interned strings
        self._objects[ref] = kept
        if run is not None and run != ref:
            self._children.setdefault(run, set()).add(ref)
        self._makers.add(ref, kept)
        address = _address(kept)
        if address:
            self._pods[address] = ref

    def is_incomplete(self, run: ObjectRef) -> bool:
        """Return whether the objects of a run must be listed: it was finished, and has been retried."""
        return run in self._incomplete

    def listed(self, run: ObjectRef) -> None:
        """Record that all objects of a run have been listed and stored."""
        self._incomplete.discard(run)

    def deleting(self, ref: ObjectRef, uid: str, at: str) -> None:
        """Record that the API server has accepted the deletion of an object.

        Until a watch or a list reports that the object is gone, every state of it counts as terminating: a slow watch
        may still report states from before the deletion. A new object of the same name has another UID.
        """
        known = self._objects.get(ref)
        if known is not None and known["metadata"]["uid"] == uid:
            self._deleting[uid] = at
            self._objects[ref] = {**known, "metadata": {"deletionTimestamp": at, **known["metadata"]}}

    def remove(self, ref: ObjectRef, version: str = "") -> bool:
        """Remove a deleted object and remember its deletion; return whether the object was known."""
        known = self._objects.get(ref)
        gone_at = max(int(version or 0), _version(known) if known else 0)
        if known is not None and version and _version(known) > int(version):
            return False
        self.deleted[ref] = gone_at
        if known is None:
            return False
        self._deleting.pop(known["metadata"].get("uid", ""), None)
        self._forget(ref)
        return True

    def remove_uid(self, ref: ObjectRef, uid: str) -> bool:
        """Remove an object that the API server does not have any more; return whether it was known."""
        known = self._objects.get(ref)
        return known is not None and known["metadata"].get("uid") == uid and self.remove(ref)

    def remove_absent(
        self, api_version: str, kind: str, namespace: str, present: AbstractSet[ObjectRef], version: str
    ) -> set[ObjectRef]:
        """Remove the objects that a complete list does not contain; return the runs that they belonged to.

        An empty namespace means all. Objects that are newer than the list, by its resourceVersion, stay.
        """
        scope, listed_at = (api_version, kind, namespace), int(version)
        runs: set[ObjectRef] = set()
        for ref, known in list(self._objects.items()):
            in_scope = (ref.api_version, ref.kind) == scope[:2] and namespace in ("", ref.namespace)
            if in_scope and ref not in present and _version(known) <= listed_at:
                if (run := run_of(known)) is not None:
                    runs.add(run)
                self.remove(ref, version)
        # A late reply is at most seconds old, so deletions from before the previous list can be forgotten.
        before = self._listed.get(scope, -1)
        for ref, gone_at in list(self.deleted.items()):
            if (ref.api_version, ref.kind) == scope[:2] and gone_at < before:
                del self.deleted[ref]
        self._listed[scope] = listed_at
        return runs

    def listed_at(self, api_version: str, kind: str, namespace: str) -> str:
        """Return the resourceVersion of the last complete list of a kind; empty before the first."""
        return str(self._listed.get((api_version, kind, namespace), ""))

    def get(self, ref: ObjectRef) -> Manifest | None:
        """Return an object, or None."""
        return self._objects.get(ref)

    def runs(self) -> list[Manifest]:
        """Return every FusionRun."""
        return [manifest for ref, manifest in self._objects.items() if ref.kind == KIND]

    def children(self, run: ObjectRef) -> list[Manifest]:
        """Return the objects with the run's label, in a stable order."""
        return [self._objects[ref] for ref in sorted(self._children.get(run, ()), key=_BY_NAME)]

    def makers(self, namespace: str, artifacts: Iterable[str]) -> list[Manifest]:
        """Return the workloads that make some artifacts of a namespace, or whose clients do."""
        return [self._objects[ref] for ref in self._makers.of(namespace, artifacts)]

    def makers_since(self, namespace: str, time: str) -> list[Manifest]:
        """Return the workloads that make any artifact of a namespace, without those that succeeded before ``time``."""
        return [self._objects[ref] for ref in self._makers.since(namespace, time)]

    def pod_at(self, address: str) -> Manifest | None:
        """Return the pod with this address that has not ended, or None."""
        ref = self._pods.get(address)
        return self._objects.get(ref) if ref else None

    def owned_pod_at(self, address: str) -> Manifest | None:
        """Return the pod of a run with this address, or None.

        Whoever may create pods can copy the labels of a run: an object of the run must own the pod.
        """
        pod = self.pod_at(address)
        label = run_of(pod) if pod else None
        run = self._objects.get(label) if label else None
        if pod is None or label is None or run is None:
            return None
        others = [self._objects[ref] for ref in self._children.get(label, ()) if ref.kind != "Pod"]
        owned = owned_by(run["metadata"]["uid"], [*others, pod])
        return pod if any(child is pod for child in owned) else None

    def _forget(self, ref: ObjectRef) -> None:
        known = self._objects.pop(ref)
        self._finished.discard(ref)
        self._incomplete.discard(ref)
        run = run_of(known)
        if run is not None and run in self._children:
            self._children[run].discard(ref)
            if not self._children[run]:
                del self._children[run]
        self._makers.discard(ref)
        self._forget_address(ref, known)

    def _forget_address(self, ref: ObjectRef, known: Manifest) -> None:
        address = _address(known)
        if address and self._pods.get(address) == ref:
            del self._pods[address]

    def _finish(self, run: ObjectRef) -> None:
        self._finished.add(run)
        for ref in self._children.get(run, ()):
            self._forget_address(ref, self._objects[ref])
            self._objects[ref] = trim(self._objects[ref], finished=True)

    def _continue(self, run: ObjectRef) -> None:
        """Forget the objects of a run that were trimmed because it was finished: a list returns them again."""
        self._incomplete.add(run)
        for ref in list(self._children.get(run, ())):
            self._forget(ref)

    def _restore_deletion(self, kept: Manifest) -> None:
        at = self._deleting.get(kept["metadata"].get("uid", ""))
        if at is not None:
            kept["metadata"].setdefault("deletionTimestamp", at)


def _same(known: Manifest, kept: Manifest) -> bool:
    """Return whether two states of an object differ at most in their resourceVersion."""
    version = {"resourceVersion": known["metadata"].get("resourceVersion")}
    return known == {**kept, "metadata": {**kept["metadata"], **version}}


def _version(manifest: Manifest) -> int:
    # Source: Kubernetes API concepts, resource versions: comparable as integers since v1.35 (KEP-5504), and etcd
    # revisions before that.
    return int(manifest["metadata"].get("resourceVersion") or 0)


def _address(manifest: Manifest) -> str | None:
    # The address of an ended pod may be in use by another pod; a pod on the host network has the node's address.
    if manifest["kind"] != "Pod":
        return None
    status = manifest.get("status") or {}
    alive = status.get("phase") in ("Pending", "Running") and not (manifest.get("spec") or {}).get("hostNetwork")
    return status.get("podIP") if alive else None
