"""Everything that ``observe`` reads of one run: from the store, and from the API server what no watch reports.

Whole kinds are listed at start and at each resync (``list_everything``), never in a reconcile. What a reconcile asks
for itself is small: a prerequisite that is not yet known to exist, the log of a pod that has just failed, the pods of a
workload that has ended while the watch of pods is behind.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from fusionrun.api.models import Manifest
from fusionrun.cluster.client import Client
from fusionrun.cluster.store import Store, is_finished, ref_of, run_of
from fusionrun.cluster.warning_events import Warnings
from fusionrun.errors import ClusterError
from fusionrun.names import API_VERSION, KIND, LABEL_ATTEMPT, LABEL_RUN, LABEL_STAGE
from fusionrun.state.decide.prerequisites import prerequisites
from fusionrun.state.observe.live_objects import Live, ObjectRef, Pushed
from fusionrun.state.observe.pending_pods import unexplained

logger = logging.getLogger(__name__)

CHILDREN: tuple[tuple[str, str], ...] = (
    ("batch/v1", "Job"),
    ("kubeflow.org/v1", "PyTorchJob"),
    ("apps/v1", "Deployment"),
    ("v1", "Service"),
    ("v1", "ConfigMap"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("v1", "Pod"),
)
"""Kinds of the objects that a run owns, directly or (pods) through another."""

LOG_TAIL_LINES = 20

LIST_TRIES = 3
"""How often a list is started in one resync when the API server no longer has the state of its first page.

It keeps old states for 5 minutes (kube-apiserver, ``--etcd-compaction-interval``): far longer than a list takes.
"""
_EXPIRED = 410


class Gatherer:
    """Fill ``Live`` for one run after another; remembers what need not be asked for twice."""

    def __init__(self, client: Client, store: Store) -> None:
        self._client = client
        self._store = store
        self._present: dict[ObjectRef, set[ObjectRef]] = {}
        """What each run has found once. Another run looks for itself: what was there may be gone since."""
        self._waiting: dict[ObjectRef, set[ObjectRef]] = {}
        self._logs: dict[tuple[str, int], str] = {}
        self._warnings = Warnings(client)

    async def gather(self, run: ObjectRef, pushed: Mapping[tuple[str, int], Pushed]) -> Live | None:
        """Return what is known of a run, or None when it is gone or going."""
        found = self._store.get(run)
        if found is None or "deletionTimestamp" in found["metadata"]:
            return None
        children = owned(self._store.children(run), found["metadata"]["uid"])
        if is_finished(found):  # it needs nothing any more but the deletion of its children
            return Live(run=found, children=tuple(children))
        present, log_tails, warnings = await asyncio.gather(
            self._prerequisites(run, found),
            self._log_tails(children),
            self._warnings.of(unexplained(children, datetime.now(UTC))),
        )
        return Live(
            run=found,
            children=tuple(children),
            present=present,
            pushed=dict(pushed),
            log_tails=log_tails,
            warnings=warnings,
        )

    async def list_pods(self, live: Live, workloads: Iterable[ObjectRef]) -> Live | None:
        """Ask the API server for the pods of some workloads; return what is known then, None when the run is gone.

        Parameters
        ----------
        live
            What was known before.
        workloads
            Jobs and PyTorchJobs among the run's children.

        Raises
        ------
        ClusterError
            If the pods could not be listed: nothing is known of them then.
        """
        run = ref_of(live.run)
        asked = set(workloads)
        labels = [c["metadata"]["labels"] for c in live.children if ref_of(c) in asked]
        await asyncio.gather(*map(self._list_pods, [run] * len(labels), labels))
        known = await self.gather(run, live.pushed)
        return known and replace(known, pods_listed=live.pods_listed | asked)

    async def _list_pods(self, run: ObjectRef, labels: Mapping[str, str]) -> None:
        selector = ",".join(f"{key}={labels[key]}" for key in (LABEL_RUN, LABEL_STAGE, LABEL_ATTEMPT))
        async for page in self._client.pages("v1", "Pod", run.namespace, selector):
            for pod in page.items:
                self._store.put(pod)

    def claim_changed(self, claim: ObjectRef, *, exists: bool) -> set[ObjectRef]:
        """Take note of a claim that came or went; return the runs that were waiting for it."""
        if not exists:
            for present in self._present.values():
                present.discard(claim)
            return set()
        waiting = self._waiting.pop(claim, set())
        for run in waiting:
            self._present.setdefault(run, set()).add(claim)
        return waiting

    def forget(self, run: ObjectRef) -> None:
        """Forget a run that is gone."""
        self._present.pop(run, None)
        for waiting in self._waiting.values():
            waiting.discard(run)
        alive = {pod["metadata"]["uid"] for r in self._store.runs() for pod in self._pods_of(r)}
        self._logs = {key: tail for key, tail in self._logs.items() if key[0] in alive}

    def _pods_of(self, run: Manifest) -> list[Manifest]:
        ref = run_of(run)
        return [child for child in self._store.children(ref) if child["kind"] == "Pod"] if ref else []

    async def _prerequisites(self, run: ObjectRef, manifest: Manifest) -> dict[ObjectRef, bool]:
        refs = prerequisites(manifest)
        present = self._present.setdefault(run, set())
        unknown = [ref for ref in refs if ref not in present]
        for ref, exists in zip(unknown, await asyncio.gather(*map(self._client.exists, unknown)), strict=True):
            if exists:
                present.add(ref)
            else:
                self._waiting.setdefault(ref, set()).add(run)
        return {ref: ref in present for ref in refs}

    async def _log_tails(self, children: Sequence[Manifest]) -> dict[str, str]:
        failed = [(pod, *found) for pod in children if (found := failed_container(pod))]
        tails = await asyncio.gather(*(self._log_tail(*each) for each in failed))
        return {pod["metadata"]["name"]: tail for (pod, *_), tail in zip(failed, tails, strict=True) if tail}

    async def _log_tail(self, pod: Manifest, container: str, restarts: int, previous: bool) -> str:  # noqa: FBT001
        key = (pod["metadata"]["uid"], restarts)
        if key not in self._logs:
            metadata = pod["metadata"]
            try:
                self._logs[key] = await self._client.log_tail(
                    metadata["namespace"], metadata["name"], container, lines=LOG_TAIL_LINES, previous=previous
                )
            except ClusterError as error:
                # A log that is gone (the node is lost, the pod deleted) will not come back.
                logger.warning("no log of %s: %s", metadata["name"], error)
                self._logs[key] = ""
        return self._logs[key]


def owned(children: Sequence[Manifest], uid: str) -> list[Manifest]:
    """Keep what a run with this UID owns: neither a namesake's leftovers nor a stranger's label count."""
    objects = {id(c): c for c in children if c["kind"] != "Pod" and uid in _owners(c)}
    owners = {c["metadata"]["uid"] for c in objects.values()}
    # A Deployment's pods belong to its ReplicaSet, which we do not watch: it is named after the Deployment.
    deployments = tuple(f"{c['metadata']['name']}-" for c in objects.values() if c["kind"] == "Deployment")
    return [
        child
        for child in children
        if id(child) in objects
        or (
            child["kind"] == "Pod"
            and (owners & _owners(child).keys() or any(n.startswith(deployments) for n in _owners(child).values()))
        )
    ]


def failed_container(pod: Manifest) -> tuple[str, int, bool] | None:
    """Name the container of a pod that failed first, its restarts, and whether it has been restarted since."""
    if pod["kind"] != "Pod":
        return None
    status = pod.get("status") or {}
    found = []
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        for state, previous in ((container.get("state"), False), (container.get("lastState"), True)):
            ended = (state or {}).get("terminated")
            if ended and ended.get("exitCode"):
                when = ended.get("finishedAt") or ""
                found.append((when, container["name"], int(container.get("restartCount") or 0), previous))
                break
    return min(found)[1:] if found else None


async def list_everything(client: Client, store: Store, namespaces: Sequence[str]) -> set[ObjectRef]:
    """Compare the store with the API server, kind by kind; return the runs that there is news of.

    Runs come first: of a finished run's children less is kept. One kind follows another and each comes page by page,
    so that one page is held at a time.

    Parameters
    ----------
    client, store
        Whom to ask, and where the answers go.
    namespaces
        Which to list; a single empty string means all.
    """
    news: set[ObjectRef] = set()
    for api_version, kind in [(API_VERSION, KIND), *CHILDREN]:
        for namespace in namespaces:
            for tries_left in reversed(range(LIST_TRIES)):
                try:
                    news |= await _list_kind(client, store, api_version, kind, namespace)
                    break
                except ClusterError as error:
                    if error.status != _EXPIRED or not tries_left:
                        raise
    return news


async def _list_kind(client: Client, store: Store, api_version: str, kind: str, namespace: str) -> set[ObjectRef]:
    present: set[ObjectRef] = set()
    runs: set[ObjectRef | None] = set()
    version = "0"
    async for page in client.pages(api_version, kind, namespace, None if kind == KIND else LABEL_RUN):
        version = page.version
        while page.items:  # what was read of an object is kept, and the object itself goes at once
            manifest = page.items.pop()
            present.add(ref_of(manifest))
            if store.put(manifest):
                runs.add(run_of(manifest))
        await asyncio.sleep(0)  # let others work: a page takes tens of milliseconds
    runs |= store.remove_absent(api_version, kind, namespace, present, version)
    return {run for run in runs if run is not None}


def _owners(manifest: Manifest) -> dict[str, str]:
    return {owner["uid"]: owner["name"] for owner in manifest["metadata"].get("ownerReferences") or []}
