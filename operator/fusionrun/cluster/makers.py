"""Workloads by the artifact that they make, and by the time at which they succeeded. No I/O."""

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass, field

from fusionrun.api.contract import Manifest
from fusionrun.names import LABEL_ARTIFACT
from fusionrun.state.observe.object_fields import completed_at
from fusionrun.state.observe.object_ref import ObjectRef


@dataclass(frozen=True, slots=True)
class _Maker:
    artifact: str
    completed: str
    """Time at which it succeeded; empty if it has not."""


@dataclass
class _Namespace:
    of: dict[str, set[ObjectRef]] = field(default_factory=dict)
    """By the digest of the artifact."""
    incomplete: set[ObjectRef] = field(default_factory=set)
    completed: list[tuple[str, ObjectRef]] = field(default_factory=list)
    """Those that have succeeded, in the order of that time."""


class Makers:
    """The workloads of all namespaces that make an artifact, or whose clients do."""

    def __init__(self) -> None:
        self._makers: dict[ObjectRef, _Maker] = {}
        self._namespaces: dict[str, _Namespace] = {}

    def add(self, ref: ObjectRef, manifest: Manifest) -> None:
        """Add an object if it makes an artifact."""
        artifact = artifact_of(manifest)
        if not artifact:
            return
        maker = self._makers[ref] = _Maker(artifact, completed_at(manifest))
        namespace = self._namespaces.setdefault(ref.namespace, _Namespace())
        namespace.of.setdefault(artifact, set()).add(ref)
        if maker.completed:
            insort(namespace.completed, (maker.completed, ref))
        else:
            namespace.incomplete.add(ref)

    def discard(self, ref: ObjectRef) -> None:
        """Remove an object if it is here."""
        maker = self._makers.pop(ref, None)
        if maker is None:
            return
        namespace = self._namespaces[ref.namespace]
        namespace.incomplete.discard(ref)
        if maker.completed:
            del namespace.completed[bisect_left(namespace.completed, (maker.completed, ref))]
        namespace.of[maker.artifact].discard(ref)
        if not namespace.of[maker.artifact]:
            del namespace.of[maker.artifact]

    def of(self, namespace: str, artifacts: Iterable[str]) -> list[ObjectRef]:
        """Return the workloads that make these artifacts of a namespace, in a stable order."""
        known = self._namespaces.get(namespace, _Namespace()).of
        return [ref for artifact in artifacts for ref in sorted(known.get(artifact, ()))]

    def since(self, namespace: str, time: str) -> list[ObjectRef]:
        """Return the workloads of a namespace that have not succeeded, or at this time or later, in a stable order.

        A namespace with many finished runs has thousands of earlier ones.
        """
        known = self._namespaces.get(namespace, _Namespace())
        first = bisect_left(known.completed, time, key=lambda each: each[0])
        return sorted([*known.incomplete, *(ref for _, ref in known.completed[first:])])


def artifact_of(manifest: Manifest) -> str | None:
    """Return the digest of the artifact that a workload makes, or None."""
    return (manifest["metadata"].get("labels") or {}).get(LABEL_ARTIFACT)
