"""References to Kubernetes objects, and the owners of an object."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from fusionrun.api.contract import Manifest
from fusionrun.names import API_VERSION, KIND, LABEL_RUN


@dataclass(frozen=True, order=True, slots=True)
class ObjectRef:
    """A Kubernetes object by kind and name; ``namespace`` is empty for a cluster-scoped object."""

    api_version: str
    kind: str
    namespace: str
    name: str


def ref_of(manifest: Manifest) -> ObjectRef:
    """Return the reference of an object."""
    metadata = manifest["metadata"]
    return ObjectRef(manifest["apiVersion"], manifest["kind"], metadata.get("namespace") or "", metadata["name"])


def run_ref(namespace: str, name: str) -> ObjectRef:
    """Return the reference of a FusionRun."""
    return ObjectRef(API_VERSION, KIND, namespace, name)


def run_of(manifest: Manifest) -> ObjectRef | None:
    """Return the run that an object belongs to by its label, or the run itself; None for any other object."""
    metadata = manifest["metadata"]
    if manifest["kind"] == KIND:
        return ref_of(manifest)
    name = (metadata.get("labels") or {}).get(LABEL_RUN)
    return run_ref(metadata.get("namespace") or "", name) if name else None


def owners(manifest: Manifest) -> dict[str, str]:
    """Return the names of an object's owners by their UID."""
    return {owner["uid"]: owner["name"] for owner in manifest["metadata"].get("ownerReferences") or []}


def owned_by(uid: str, children: list[Manifest], recorded: AbstractSet[str] = frozenset()) -> list[Manifest]:
    """Return the objects that a run owns, and the pods of its workloads, out of the objects with its label.

    Other objects belong to a deleted run of the same name, or another user has set the label. ``recorded`` are UIDs of
    pods of the run, which may terminate after their workload is gone.
    """
    objects = {id(c): c for c in children if c["kind"] != "Pod" and uid in owners(c)}
    uids = {c["metadata"]["uid"] for c in objects.values()}
    # Pods of a Deployment belong to a ReplicaSet, and pods of a TrainJob to a Job of its JobSet. These are not watched.
    # Their names begin with the name of the Deployment or TrainJob, which contains a hash of the run's UID.
    indirect = tuple(f"{c['metadata']['name']}-" for c in objects.values() if c["kind"] in ("Deployment", "TrainJob"))
    return [
        child
        for child in children
        if id(child) in objects
        or (
            child["kind"] == "Pod"
            and (
                uids & owners(child).keys()
                or any(n.startswith(indirect) for n in owners(child).values())
                or child["metadata"].get("uid") in recorded
            )
        )
    ]
