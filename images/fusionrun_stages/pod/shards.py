"""Shards that the pods of a stage take in turn, so that each pod loads its model once.

A pod holds the lease of the shard that it makes (``pod.lease``). If it is killed, its replacement, which has its
number, takes the shard at once; another pod of the stage takes it when the lease is stale.
"""

import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from fusionrun.api.artifacts import ArtifactManifest
from fusionrun_stages.pod import lease as leases
from fusionrun_stages.pod.lease import Holder, Lease
from fusionrun_stages.volume.manifest import read_manifest
from fusionrun_stages.work import Report, Work

_NUMBER = "#"
WORKER = "worker"
"""Detail of the manifest of a shard: the number of the pod that made it."""
PARTS = 1000
"""Progress is reported in this many parts of a shard."""


@dataclass(frozen=True)
class Worker:
    """One of the pods that take the shards of a stage in turn."""

    stage: str
    """Namespace, run and stage."""
    number: int
    workers: int

    def holder(self, pod_uid: str) -> Holder:
        """Return the holder of the leases that a pod with this number takes."""
        return Holder(f"{self.stage}{_NUMBER}{self.number}", pod_uid)

    @property
    def details(self) -> dict[str, Any]:
        """The details of the manifest of a shard that this pod makes."""
        return {WORKER: self.number}

    def is_sibling(self, holder: Holder) -> bool:
        """Return whether a holder is another pod of the stage: one that runs, or will be replaced."""
        stage, _, number = holder.stage.rpartition(_NUMBER)
        return stage == self.stage and number.isdecimal() and int(number) < self.workers

    def counts(self, details: dict[str, Any]) -> bool:
        """Return whether a complete shard, by the details of its manifest, is in the results of this pod.

        Each complete shard counts for one pod of the stage, also after a pod was replaced: that of other runs and of
        attempts with more pods for the first.
        """
        number = details.get(WORKER)
        return number == self.number if number in range(self.workers) else self.number == 0

    def in_order(self, shards: int) -> list[int]:
        """Return all shards. Each pod starts at another place, so that two pods rarely try the same one."""
        first = self.number * shards // self.workers
        return [*range(first, shards), *range(first)]


def take_shards(
    worker: Worker,
    shards: int,
    lease_of: Callable[[int], Lease],
    is_complete: Callable[[int], bool],
    on_wait: Callable[[], None],
) -> Generator[int]:
    """Yield shards to make, and hold the lease of each one until the next is asked for.

    End when every shard is complete, or is held by another pod of the stage: that pod, or its replacement, makes
    it, and the GPU of this one is free. While a pod of another run holds one, call ``on_wait`` and wait.
    """
    left = worker.in_order(shards)
    for shard in left:
        if is_complete(shard):
            lease_of(shard).remove_left()
    while left := [shard for shard in left if not is_complete(shard)]:
        took = False
        for shard in left:
            lease = lease_of(shard)
            if is_complete(shard) or not lease.try_take():
                continue
            try:
                if not is_complete(shard):
                    took = True
                    yield shard
            finally:
                lease.release()
        if took:
            continue
        holders = [lease_of(shard).holder() for shard in left]
        if all(holder is not None and worker.is_sibling(holder) for holder in holders):
            return
        on_wait()
        time.sleep(leases.POLL_SECONDS)


def make_shards(
    work: Work, worker: Worker, lease_of: Callable[[int], Lease], make: Callable[[Work], None]
) -> list[ArtifactManifest]:
    """Call ``make`` for one shard after another; return the manifests of those that count for this pod."""
    kind, shards = work.task.parameters.kind, work.task.shards or 0
    complete: dict[int, ArtifactManifest] = {}

    def is_complete(shard: int) -> bool:
        if shard not in complete and (manifest := read_manifest(work.output, kind, shard, shards)):
            complete[shard] = manifest
        return shard in complete

    def counted() -> list[ArtifactManifest]:
        return [manifest for _, manifest in sorted(complete.items()) if worker.counts(manifest.details)]

    def report(unit: str = "") -> None:
        work.report(PARTS * len(counted()), PARTS * shards, unit)

    with closing(
        take_shards(worker, shards, lease_of, is_complete, lambda: report("waiting for another run"))
    ) as taken:
        for shard in taken:
            make(replace(work, shard=shard, report=ShardReport(work.report, len(counted()), shards)))
            is_complete(shard)  # counts it
    report()  # with the shards of predecessors, which may not have reported their last one
    return counted()


class ShardReport:
    """A ``Report`` of one shard that reports the progress of this pod in all shards of the stage."""

    def __init__(self, report: Report, complete: int, shards: int) -> None:
        """``complete`` is the number of complete shards that count for this pod."""
        self._report, self._complete, self._shards = report, complete, shards

    def __call__(self, done: int, total: int, unit: str = "", **numbers: float) -> None:
        """Report that ``done`` of ``total`` units of the shard are done."""
        parts = PARTS * self._complete + PARTS * done // max(1, total)
        self._report(parts, PARTS * self._shards, unit, **numbers)
