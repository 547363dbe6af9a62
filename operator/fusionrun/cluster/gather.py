"""The input of the decision on a run: from the store and, for what no watch reports, from the API server.

Only a resync lists whole kinds (``list_namespace``). A reconcile makes small requests: for a prerequisite that is not
known to exist, the log of a pod that has failed, or the pods of an ended workload if the watch of pods lags behind.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from fusionrun.api.contract import Manifest
from fusionrun.api.stage import StageKind
from fusionrun.api.status.stages import StageState
from fusionrun.cluster.client import Client
from fusionrun.cluster.finished_work import FinishedWork
from fusionrun.cluster.kueue_workloads import KueueWorkloadReader
from fusionrun.cluster.late_workloads import LateWorkloads
from fusionrun.cluster.other_runs import OtherRuns
from fusionrun.cluster.prerequisite_lookups import PrerequisiteLookups
from fusionrun.cluster.shared_replies import SharedReplies
from fusionrun.cluster.store import Store
from fusionrun.cluster.warning_events import WarningEvents
from fusionrun.errors import ClusterError
from fusionrun.names import API_VERSION, KIND, LABEL_ATTEMPT, LABEL_RUN, LABEL_STAGE
from fusionrun.plan.gpus import gpu_limits
from fusionrun.plan.pod_size import NodeGpus
from fusionrun.state.decide.prerequisites import prerequisites
from fusionrun.state.observe.gpu_pods import recorded_uids
from fusionrun.state.observe.kueue import looked_up
from fusionrun.state.observe.live_objects import LiveObjects, PushedProgress
from fusionrun.state.observe.object_fields import container_statuses, is_finished
from fusionrun.state.observe.object_ref import ObjectRef, owned_by, ref_of, run_of
from fusionrun.state.observe.pending_pods import unexplained
from fusionrun.state.observe.run_cache import RunCache, known_status

logger = logging.getLogger(__name__)

FROM_CRDS: tuple[tuple[str, str], ...] = (
    ("kubeflow.org/v1", "PyTorchJob"),
    ("trainer.kubeflow.org/v1alpha1", "TrainJob"),
    ("trainer.kubeflow.org/v1alpha1", "TrainingRuntime"),
    ("scheduling.x-k8s.io/v1alpha1", "PodGroup"),
    ("scheduling.volcano.sh/v1beta1", "PodGroup"),
)
"""Those of ``CHILDREN`` that a cluster serves only if it has their CRD."""
CHILDREN: tuple[tuple[str, str], ...] = (
    ("batch/v1", "Job"),
    *FROM_CRDS,
    ("apps/v1", "Deployment"),
    ("v1", "Service"),
    ("v1", "ConfigMap"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("v1", "Pod"),
)
"""Kinds of the objects that a run owns, directly or, for pods, through a workload."""

LOG_TAIL_LINES = 20

NODES_SECONDS = 10.0
"""How long a list of all nodes serves the runs that are not resolved yet: each reconcile of such a run needs them."""
LIST_TRIES = 3
"""Maximum number of times that a resync starts a list if the API server no longer has the state of its first page.

The API server keeps old states for 5 minutes (kube-apiserver, ``--etcd-compaction-interval``); a list takes seconds.
"""
_NOT_FOUND, _EXPIRED = 404, 410


class Gatherer:
    """Gathers the live objects of runs, and caches replies that do not change."""

    def __init__(self, client: Client, store: Store, *, check_nodes: bool = False) -> None:
        self._client = client
        self._store = store
        self._check_nodes = check_nodes
        self._prerequisites = PrerequisiteLookups(client)
        self._caches: dict[ObjectRef, RunCache] = {}
        self._logs: dict[tuple[str, int], str] = {}
        self._warnings = WarningEvents(client)
        self._node_lists = SharedReplies(self._list_nodes, NODES_SECONDS)
        self.other_runs = OtherRuns(store)
        self._kueue = KueueWorkloadReader(client)
        self._late = LateWorkloads()
        self._finished = FinishedWork()

    async def gather(self, run: ObjectRef, pushed: Mapping[tuple[str, int], PushedProgress]) -> LiveObjects | None:
        """Return the live objects of a run; None if it was deleted or is being deleted."""
        manifest = self._store.get(run)
        if manifest is None or "deletionTimestamp" in manifest["metadata"]:
            return None
        if self._store.is_incomplete(run):
            await self._list_run(run)
        cache = self._cache(run)
        recorded = recorded_uids(known_status(cache, manifest))
        children = owned_by(manifest["metadata"]["uid"], self._store.children(run), recorded)
        if is_finished(manifest):  # only its objects remain to be deleted
            self._caches.pop(run, None)
            self.other_runs.forget(run)
            self._finished.add(manifest)
            return LiveObjects(run=manifest, children=tuple(children), cache=cache)
        if late := self._late.due(children):
            for error in filter(None, await asyncio.gather(*map(self._read, late), return_exceptions=True)):
                logger.warning("cannot read a workload of run %s/%s: %s", run.namespace, run.name, error)
            children = owned_by(manifest["metadata"]["uid"], self._store.children(run), recorded)
        status = manifest.get("status") or {}
        now, accepted = datetime.now(UTC), bool(status.get("specDigest"))
        depends_on = (manifest["spec"], status.get("trainingBackend"))
        needed = cache.get("prerequisites", depends_on, lambda: prerequisites(manifest))
        present, nodes, log_tails, warnings, kueue = await asyncio.gather(
            self._prerequisites.of(run, needed, accepted=accepted),
            self._nodes(manifest),
            self._log_tails(children),
            self._warnings.of(unexplained(children, now)),
            self._kueue.of(looked_up(children, now)),
        )
        return LiveObjects(
            run=manifest,
            children=tuple(children),
            present=present,
            pushed=dict(pushed),
            log_tails=log_tails,
            warnings=warnings,
            kueue=kueue,
            work=self._finished.of(run.namespace),
            nodes=nodes,
            others=self.other_runs.of(manifest, children),  # last: no other reconcile runs before the decision
            cache=cache,
        )

    async def list_pods(self, live: LiveObjects, workloads: Iterable[ObjectRef]) -> LiveObjects | None:
        """List the pods of some workloads; return the live objects after that, None if the run was deleted.

        Each workload is read after its pods: if its controller has deleted a pod, the workload shows why.
        """
        run, listed = ref_of(live.run), set(workloads)
        children = [c for c in live.children if ref_of(c) in listed]
        await asyncio.gather(*(self._refresh(run, workload) for workload in children))
        updated = await self.gather(run, live.pushed)
        return updated and replace(updated, pods_listed=live.pods_listed | listed)

    def _cache(self, run: ObjectRef) -> RunCache:
        return self._caches.setdefault(run, RunCache())

    async def _list_run(self, run: ObjectRef) -> None:
        """List all objects of a run that has been retried: only a part of some was stored while it was finished."""
        for api_version, kind in CHILDREN:
            async for page in self._client.pages(api_version, kind, run.namespace, f"{LABEL_RUN}={run.name}"):
                for manifest in page.items:
                    self._store.put(manifest)
        self._store.listed(run)

    async def _refresh(self, run: ObjectRef, workload: Manifest) -> None:
        await self._list_pods(run, workload["metadata"]["labels"])
        await self._read(workload)

    async def _read(self, workload: Manifest) -> None:
        ref = ref_of(workload)
        try:
            self._store.put(await self._client.get(ref))
        except ClusterError as error:
            if error.status != _NOT_FOUND:
                raise
            self._store.remove_uid(ref, workload["metadata"]["uid"])

    async def _list_pods(self, run: ObjectRef, labels: Mapping[str, str]) -> None:
        selector = ",".join(f"{key}={labels[key]}" for key in (LABEL_RUN, LABEL_STAGE, LABEL_ATTEMPT))
        async for page in self._client.pages("v1", "Pod", run.namespace, selector):
            for pod in page.items:
                self._store.put(pod)

    def claim_changed(self, claim: ObjectRef, *, exists: bool) -> set[ObjectRef]:
        """Record that a claim was created or deleted; return the runs that were waiting for it."""
        return self._prerequisites.changed(claim, exists=exists)

    def forget(self, run: ObjectRef) -> None:
        """Forget a deleted run."""
        self._prerequisites.forget(run)
        self._caches.pop(run, None)
        self.other_runs.forget(run)
        self._finished.forget(run)
        children = (child for r in self._store.runs() for child in self._store.children(ref_of(r)))
        existing = {child["metadata"]["uid"] for child in children if child["kind"] == "Pod"}
        self._logs = {key: tail for key, tail in self._logs.items() if key[0] in existing}

    async def _nodes(self, manifest: Manifest) -> tuple[NodeGpus, ...]:
        """Return the nodes with GPUs until ``resolve`` is done; none if they may not or cannot be listed.

        The status that says so has the estimate as well, which depends on them.
        """
        stages = (manifest.get("status") or {}).get("stages") or []
        done = (StageKind.RESOLVE, StageState.SUCCEEDED)
        if not self._check_nodes or any((s["name"], s["state"]) == done for s in stages):
            return ()
        return await self._node_lists.get("")

    async def _list_nodes(self, _: str) -> tuple[NodeGpus, ...]:
        """List the nodes with GPUs; the argument is the key of ``SharedReplies``, which has a single one here."""
        nodes = []
        try:
            async for page in self._client.pages("v1", "Node"):
                nodes += [node for item in page.items if (node := node_gpus(item))]
        except ClusterError as error:
            logger.warning("cannot list the nodes, so the GPUs of pods are not compared with them: %s", error)
            return ()
        return tuple(nodes)

    async def _log_tails(self, children: Sequence[Manifest]) -> dict[str, str]:
        failed = [(pod, *container) for pod in children if (container := failed_container(pod))]
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
                # The log of a deleted pod, or of a pod on a lost node, stays unavailable: do not request it again.
                logger.warning("cannot read the log of pod %s: %s", metadata["name"], error)
                self._logs[key] = ""
        return self._logs[key]


def node_gpus(node: Manifest) -> NodeGpus | None:
    """Return the GPUs of a node that pods can use; None if it has none."""
    gpus = gpu_limits((node.get("status") or {}).get("allocatable"))
    count = {name: int(value) for name, value in gpus.items() if str(value).isdecimal() and int(value)}
    return NodeGpus(node["metadata"].get("labels") or {}, count) if count else None


def failed_container(pod: Manifest) -> tuple[str, int, bool] | None:
    """Return the name of the container that failed first, its restarts, and whether it has restarted since."""
    if pod["kind"] != "Pod":
        return None
    failed = []
    for container in container_statuses(pod, init=True):
        for state, previous in ((container.get("state"), False), (container.get("lastState"), True)):
            ended = (state or {}).get("terminated")
            if ended and ended.get("exitCode"):
                at, restarts = ended.get("finishedAt") or "", int(container.get("restartCount") or 0)
                failed.append((at, container["name"], restarts, previous))
                break
    return min(failed)[1:] if failed else None


async def list_namespace(client: Client, store: Store, namespace: str) -> set[ObjectRef]:
    """Update the store from lists of all kinds in a namespace, all if empty; return the runs whose objects changed.

    Runs are listed first, since less is stored of the objects of finished runs. Kinds are listed one after the other
    and page by page, so that only one page is in memory.
    """
    changed: set[ObjectRef] = set()
    for api_version, kind in [(API_VERSION, KIND), *CHILDREN]:
        for tries_left in reversed(range(LIST_TRIES)):
            try:
                changed |= await _list_kind(client, store, api_version, kind, namespace)
                break
            except ClusterError as error:
                if error.status != _EXPIRED or not tries_left:
                    raise
    return changed


async def _list_kind(client: Client, store: Store, api_version: str, kind: str, namespace: str) -> set[ObjectRef]:
    present: set[ObjectRef] = set()
    runs: set[ObjectRef | None] = set()
    version = "0"
    async for page in client.pages(api_version, kind, namespace, None if kind == KIND else LABEL_RUN):
        version = page.version
        while page.items:  # the store keeps a trimmed copy, and the page is freed object by object
            manifest = page.items.pop()
            present.add(ref_of(manifest))
            if store.put(manifest):
                runs.add(run_of(manifest))
        await asyncio.sleep(0)  # let other tasks run: a page takes tens of milliseconds
    runs |= store.remove_absent(api_version, kind, namespace, present, version)
    return {run for run in runs if run is not None}
