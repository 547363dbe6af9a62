"""One reconcile of one run: gather, decide, execute. Read this first.

Level-based: it looks at what is, never at what happened, so it may run at any time and any number of times.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from fusionrun.cluster.execute import Executor
from fusionrun.cluster.gather import Gatherer
from fusionrun.cluster.store import Store
from fusionrun.metrics import Metrics
from fusionrun.progress import ProgressBoard
from fusionrun.settings import Settings
from fusionrun.state.decide.run import decide
from fusionrun.state.observe.object_ref import ObjectRef


@dataclass(frozen=True)
class Reconciler:
    """Everything that a reconcile needs, put together once."""

    settings: Settings
    store: Store
    gatherer: Gatherer
    board: ProgressBoard
    executor: Executor
    metrics: Metrics

    async def reconcile(self, run: ObjectRef, woken_at: float | None) -> float | None:
        """Bring one run forward; return in how many seconds to look again even if nothing changes.

        Parameters
        ----------
        run
            Which run; one that is gone, or going, is left alone.
        woken_at
            Monotonic time of the watch event that asked for this, or None when it was something else.
        """
        live = await self.gatherer.gather(run, self.board.of(run))
        if live is None:
            return None
        now = datetime.now(UTC)
        decision = decide(live, self.settings, now)
        if decision.list_pods:  # the watch of pods may be behind that of Jobs: never call a result lost for that
            live = await self.gatherer.list_pods(live, decision.list_pods)
            if live is None:
                return None
            decision = decide(live, self.settings, now)
        if wait := self.executor.seconds_to_wait(live.run, decision):
            return wait
        created = await self.executor.create(live.run, decision.create)
        made = created.made
        # An object that cannot be created must not hold up the others, the status or the deletes: decide again with it.
        while created.refused.keys() - live.refused.keys():
            live = replace(live, refused=live.refused | created.refused)
            decision = decide(live, self.settings, now)
            created = await self.executor.create(live.run, decision.create)
            made = [*made, *created.made]
        if made and woken_at is not None:
            self.metrics.transition(run, woken_at, made)
        gone = await self.executor.settle(live.run, decision, now)
        if decision.status is not None:
            self.metrics.status_changed(live.run, self.store.get(run) or live.run)
        # What we made changes what is: look again at once, and then it is quiet.
        return 0.0 if made or gone else decision.requeue_seconds
