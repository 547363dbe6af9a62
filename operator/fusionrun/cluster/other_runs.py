"""What other runs make for a run, from the store, and which runs to reconcile when another run changes.

Everything here is synchronous. ``Reconciler`` looks the other runs up, decides, and records the workloads that it is
about to create without an ``await`` in between. So two runs whose reconciles overlap never start the same artifact.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager

from fusionrun.api.contract import Manifest
from fusionrun.api.stage import StageKind
from fusionrun.cluster.makers import artifact_of
from fusionrun.cluster.store import Store
from fusionrun.names import resolved_config_map
from fusionrun.state.observe.live_objects import LiveObjects, OtherWorkload
from fusionrun.state.observe.object_fields import (
    JOBS,
    completed_at,
    has_ended,
    is_deleting,
    is_pod_of,
    pod_ended,
    stage_of,
)
from fusionrun.state.observe.object_ref import ObjectRef, owners, ref_of, run_of


class OtherRuns:
    """The workloads of other runs that make artifacts of a run."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._creating: dict[ObjectRef, Sequence[Manifest]] = {}
        """Workloads that a reconcile of a run is creating now: the store does not have them yet."""
        self._makers: dict[ObjectRef, dict[ObjectRef, set[str]]] = {}
        """For each run, the runs that had workloads for its artifacts at its last reconcile, with their stages."""

    def of(self, run: Manifest, children: Iterable[Manifest]) -> tuple[OtherWorkload, ...]:
        """Return the workloads of other runs with the same claim for artifacts of a run."""
        ref, digests = ref_of(run), _digests(run, children)
        if digests is None and not _is_resolved(run, children):
            self._makers[ref] = {}
            return ()
        resolved_at = _stage_status(run, StageKind.RESOLVE).get("startTime") or ""
        new = [w for workloads in self._creating.values() for w in workloads]
        if digests is None:
            workloads = [*self._store.makers_since(ref.namespace, resolved_at), *new]
        else:
            workloads = [*self._store.makers(ref.namespace, digests), *(w for w in new if artifact_of(w) in digests)]
        found = self._relevant(run, workloads, resolved_at)
        makers = self._makers[ref] = {}
        for other in found if digests is not None else ():
            makers.setdefault(ref_of(other.run), set()).add(stage_of(other.workload) or "")
        return found

    def refresh(self, live: LiveObjects) -> tuple[OtherWorkload, ...]:
        """Return them again for the live objects of a run, after other reconciles may have gone on."""
        return self.of(live.run, live.children)

    @contextmanager
    def creating(self, run: ObjectRef, manifests: Iterable[Manifest]) -> Iterator[None]:
        """Count objects as existing while they are created, so that no other run creates a workload for the same."""
        self._creating[run] = [m for m in manifests if artifact_of(m)]
        try:
            yield
        finally:
            del self._creating[run]

    def waiting_for(self, run: ObjectRef, stages: AbstractSet[str] | None = None) -> set[ObjectRef]:
        """Return the runs that what a run makes in some stages, by default in any, may concern."""
        return {
            waiting
            for waiting, makers in self._makers.items()
            if run in makers and (stages is None or not stages.isdisjoint(makers[run]))
        }

    def forget(self, run: ObjectRef) -> None:
        """Forget a deleted or finished run."""
        self._makers.pop(run, None)

    def _relevant(self, run: Manifest, workloads: Iterable[Manifest], resolved_at: str) -> tuple[OtherWorkload, ...]:
        """Return the workloads of other runs; of those that have succeeded, the last one for each artifact.

        ``resolve`` has found what was complete when it started.
        """
        found: list[OtherWorkload] = []
        last: dict[str | None, tuple[str, OtherWorkload]] = {}
        for workload in workloads:
            artifact, completed = artifact_of(workload), completed_at(workload)
            if completed and (completed < resolved_at or (artifact in last and completed <= last[artifact][0])):
                continue
            other = self._other(run, workload)
            if other and completed:
                last[artifact] = (completed, other)
            elif other:
                found.append(other)
        return (*found, *(other for _, other in last.values()))

    def _other(self, run: Manifest, workload: Manifest) -> OtherWorkload | None:
        """Return a workload if it belongs to another run with the same claim."""
        ref = run_of(workload)
        other = self._store.get(ref) if ref else None
        if other is None or other["metadata"]["uid"] == run["metadata"]["uid"] or is_deleting(other):
            return None
        if _claim(other) != _claim(run) or other["metadata"]["uid"] not in owners(workload):
            return None
        return OtherWorkload(other, workload, self._pods(ref_of(other), workload))

    def _pods(self, run: ObjectRef, workload: Manifest) -> tuple[Manifest, ...]:
        if completed_at(workload):
            return ()
        return tuple(c for c in self._store.children(run) if c["kind"] == "Pod" and is_pod_of(c, workload))


def _is_resolved(run: Manifest, children: Iterable[Manifest]) -> bool:
    """Return whether a decision may know the digests of the artifacts of a run: ``resolve`` has ended."""
    if (run.get("status") or {}).get("resolvedDigest"):
        return True
    return any(stage_of(child) == StageKind.RESOLVE and _has_ended(child) for child in children)


def _has_ended(child: Manifest) -> bool:
    """Return whether a Job has ended, or a pod: a stage may succeed before the controller of its Job says so."""
    return pod_ended(child) if child["kind"] == "Pod" else child["kind"] in JOBS and has_ended(child)


def _stage_status(run: Manifest, name: str) -> Manifest:
    stages: Iterable[Manifest] = (run.get("status") or {}).get("stages") or ()
    return next((stage for stage in stages if stage["name"] == name), {})


def _claim(run: Manifest) -> str | None:
    name: str | None = (run["spec"].get("storage") or {}).get("claimName")
    return name


def _digests(run: Manifest, children: Iterable[Manifest]) -> list[str] | None:
    """Return the digests of the artifacts of a run; None until they are in its ConfigMap.

    The decision that first knows them, from the result of ``resolve``, may start stages as well. The decision checks
    the ConfigMap; here it only selects what the decision gets.
    """
    name = resolved_config_map(run["metadata"]["name"])
    for child in children:
        if child["kind"] == "ConfigMap" and child["metadata"]["name"] == name:
            try:
                return list(dict.fromkeys(json.loads(child["data"]["digests.json"]).values()))
            except (KeyError, TypeError, ValueError, AttributeError):
                return None
    return None
