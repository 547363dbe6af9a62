"""Looks up the prerequisites of runs, and remembers which of them exist.

Cluster-scoped ones need rights of a ClusterRole. An operator that has only Roles may not look them up: its runs do not
wait for them, and a pod that refers to a missing one is refused by the API server, which says so.
"""

import asyncio
import logging
import time
from collections.abc import Sequence

from fusionrun.cluster.client import Client
from fusionrun.cluster.shared_replies import SharedReplies
from fusionrun.errors import ClusterError
from fusionrun.state.decide.prerequisites import IN_DISCOVERY
from fusionrun.state.observe.object_ref import ObjectRef

logger = logging.getLogger(__name__)

FORBIDDEN_SECONDS = 600.0
"""Time until an object that must not be looked up is looked up again: the right may have been granted."""

_FORBIDDEN = 403


class PrerequisiteLookups:
    """What is known about the prerequisites of runs."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._discovery = SharedReplies(client.exists, seconds=0.0)
        """Shares requests in flight only: no run may start for a kind that is gone, or lack a new one."""
        self._present: dict[ObjectRef, set[ObjectRef]] = {}
        """Existing prerequisites by run. They are looked up again for each run, since they may have been deleted."""
        self._waiting: dict[ObjectRef, set[ObjectRef]] = {}
        self._forbidden: dict[ObjectRef, float] = {}
        """Monotonic time until which a prerequisite is not looked up again."""

    async def of(self, run: ObjectRef, refs: Sequence[ObjectRef], *, accepted: bool) -> dict[ObjectRef, bool]:
        """Return whether each prerequisite exists; leave out those that the operator must not look up.

        Another one that cannot be looked up is left out if the run is accepted: its running stages must still be
        followed, and it can be suspended. A new run waits, since its acceptance depends on them.

        Raises
        ------
        ClusterError
            If a prerequisite of a new run cannot be looked up.
        """
        present, now = self._present.setdefault(run, set()), time.monotonic()
        unanswered = {ref for ref in refs if self._forbidden.get(ref, now) > now} - present
        unknown = [ref for ref in refs if ref not in present | unanswered]
        lookups = await asyncio.gather(*map(self._exists, unknown), return_exceptions=True)
        for ref, exists in zip(unknown, lookups, strict=True):
            if isinstance(exists, ClusterError) and exists.status == _FORBIDDEN and ref.kind not in IN_DISCOVERY:
                self._forbid(ref, exists)
                unanswered.add(ref)
            elif isinstance(exists, ClusterError) and accepted:
                logger.warning("cannot look up a prerequisite of run %s/%s: %s", run.namespace, run.name, exists)
                unanswered.add(ref)
            elif isinstance(exists, BaseException):
                raise exists
            elif exists:
                present.add(ref)
            else:
                self._waiting.setdefault(ref, set()).add(run)
        return {ref: ref in present for ref in refs if ref not in unanswered}

    def changed(self, ref: ObjectRef, *, exists: bool) -> set[ObjectRef]:
        """Record that a prerequisite was created or deleted; return the runs that were waiting for it."""
        if not exists:
            for present in self._present.values():
                present.discard(ref)
            return set()
        waiting = self._waiting.pop(ref, set())
        for run in waiting:
            self._present.setdefault(run, set()).add(ref)
        return waiting

    def forget(self, run: ObjectRef) -> None:
        """Forget a deleted run."""
        self._present.pop(run, None)
        for waiting in self._waiting.values():
            waiting.discard(run)

    async def _exists(self, ref: ObjectRef) -> bool:
        return await (self._discovery.get(ref) if ref.kind in IN_DISCOVERY else self._client.exists(ref))

    def _forbid(self, ref: ObjectRef, error: ClusterError) -> None:
        self._forbidden[ref] = time.monotonic() + FORBIDDEN_SECONDS
        right = "the right to get it" if ref.namespace else "the right to get it (rbac.clusterScoped of the chart)"
        advice = f"runs do not wait for it, and its absence shows in their pods: check that it exists, or grant {right}"
        logger.warning("%s: %s", error, advice)
