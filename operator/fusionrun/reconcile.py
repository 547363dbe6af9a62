"""One reconcile of one run: gather, decide, execute. Start reading here.

Level-based: it depends on the current state, not on events, so it may run at any time and any number of times.
"""

import time
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime

from fusionrun import __version__
from fusionrun.api.status.run import FusionRunStatus
from fusionrun.cluster.clock import Clock
from fusionrun.cluster.execute import Executor
from fusionrun.cluster.gather import Gatherer
from fusionrun.errors import ContractError
from fusionrun.metrics import Metrics
from fusionrun.progress import ProgressBoard
from fusionrun.settings import Settings
from fusionrun.state.decide.decision import Decision
from fusionrun.state.decide.run import decide
from fusionrun.state.observe.live_objects import LiveObjects
from fusionrun.state.observe.object_fields import is_finished
from fusionrun.state.observe.object_ref import ObjectRef
from fusionrun.state.observe.run_cache import known_status

WATCH_LAG_SECONDS = 1.0
"""Time until the pods of an ended workload are listed if their watch has not reported their end. On a busy machine the
watches are read in another order than that of the changes, and an event of the pods comes soon; a list costs two
requests."""
NEW_OBJECTS_SECONDS = 1.0
"""Time until a run with new objects is reconciled again, if no event of a watch causes that sooner."""


@dataclass(frozen=True)
class Reconciler:
    """Reconciles runs."""

    settings: Settings
    gatherer: Gatherer
    board: ProgressBoard
    executor: Executor
    metrics: Metrics
    wake: Callable[[ObjectRef], None]
    """Reconciles a run that may wait for the one that has changed."""
    freed: Callable[[], None] = lambda: None
    """Called when less is kept of a run, since it has finished or was deleted."""
    clock: Clock = field(default_factory=Clock)
    _wanted: dict[ObjectRef, dict[ObjectRef, float]] = field(default_factory=dict)
    """For each run, the workloads whose pods its last decision wanted to know, each with the first time (monotonic)."""

    def forget(self, run: ObjectRef) -> None:
        """Forget a deleted run."""
        self._wake_others(run)
        self._wanted.pop(run, None)
        self.gatherer.forget(run)
        self.board.forget(run)
        self.executor.forget(run)
        self.freed()

    async def reconcile(self, run: ObjectRef, woken_at: float | None) -> float | None:
        """Reconcile one run; return in how many seconds to do so again even if nothing changes.

        ``woken_at`` is the monotonic time of the watch event that caused this; None for any other cause.

        Raises
        ------
        ContractError
            If the API server does not keep the digests in the status, because its CRD is that of an older release.
        """
        later, recorded = await self._reconcile(run, woken_at)
        if recorded:  # objects wait for the status that was written
            later, recorded = await self._reconcile(run, woken_at)
        if recorded:
            field = "status.specDigest: the CRD has no such field: install the CRD of this release"
            raise ContractError(__version__, field)
        return later

    async def _reconcile(self, run: ObjectRef, woken_at: float | None) -> tuple[float | None, bool]:
        """Reconcile once; return the seconds, and whether only digests were written."""
        found = await self._decide(run)
        if found is None:
            return None, False
        live, decision, now = found
        before = known_status(live.cache, live.run)
        if is_finished(live.run):
            self.board.forget(run)
            self.freed()
        if wait := self.executor.seconds_to_wait(live.run, before, decision):
            return wait, False
        with self.gatherer.other_runs.creating(run, decision.create):
            created = await self.executor.create(live.run, decision.create)
        made = created.made
        # An object that cannot be created must not delay the others, the status or the deletes: decide again.
        while created.refused.keys() - live.refused.keys():
            others = self.gatherer.other_runs.refresh(live)
            live = replace(live, refused=live.refused | created.refused, others=others)
            decision = decide(live, self.settings, now)
            with self.gatherer.other_runs.creating(run, decision.create):
                created = await self.executor.create(live.run, decision.create)
            made = [*made, *created.made]
        if made and woken_at is not None:
            self.metrics.transition(run, woken_at, made)
        gone = await self.executor.settle(live.run, decision, now)
        if decision.status is not None:
            self.metrics.status_changed(before, decision.status)
            if changed := _changed_stages(before, decision.status):
                self._wake_others(run, changed)
        if gone:
            return 0.0, decision.only_records
        # New objects change the state. Whatever is decided next waits for them.
        times = (decision.requeue_seconds, NEW_OBJECTS_SECONDS if made else None)
        return min((s for s in times if s is not None), default=None), decision.only_records

    async def _decide(self, run: ObjectRef) -> tuple[LiveObjects, Decision, datetime] | None:
        """Return the live objects of a run, the decision on them, and its time; None if the run was deleted."""
        live = await self.gatherer.gather(run, self.board.of(run))
        now = self.clock.now()
        decision = decide(live, self.settings, now) if live else None
        listed, left = self._to_list(run, decision.list_pods if decision else ())
        if live and decision and listed:
            live = await self.gatherer.list_pods(live, listed)
            decision = decide(live, self.settings, now) if live else None
            left = self._to_list(run, decision.list_pods if decision else ())[1]
        if decision and left is not None:  # until then, the decision is that on a stage that runs
            decision = replace(decision, requeue_seconds=min(left, decision.requeue_seconds or left))
        return (live, decision, now) if live and decision else None

    def _to_list(self, run: ObjectRef, wanted: Sequence[ObjectRef]) -> tuple[list[ObjectRef], float | None]:
        """Return the workloads whose pods to list now, of those that a decision wants to know, and when to list others.

        An event of a pod ends the wait: the next decision then does not want its workload any more.
        """
        now, before = time.monotonic(), self._wanted.pop(run, {})
        if wanted:
            self._wanted[run] = {ref: before.get(ref, now) for ref in wanted}
        left = {ref: at + WATCH_LAG_SECONDS - now for ref, at in self._wanted.get(run, {}).items()}
        return [ref for ref in left if left[ref] <= 0], min((s for s in left.values() if s > 0), default=None)

    def _wake_others(self, run: ObjectRef, stages: AbstractSet[str] | None = None) -> None:
        for waiting in self.gatherer.other_runs.waiting_for(run, stages):
            self.wake(waiting)


def _changed_stages(before: FusionRunStatus, after: FusionRunStatus) -> set[str]:
    """Return the stages of which something has changed that other runs wait for: the state, or whether pods run."""
    old = {stage.name: (stage.state, stage.reason) for stage in before.stages}
    return {stage.name for stage in after.stages if old.get(stage.name) != (stage.state, stage.reason)}
