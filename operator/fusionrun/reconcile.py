"""One reconcile of one run: gather, decide, execute. Read this first.

Level-based: it looks at what is, never at what happened, so it may run at any time and any number of times.
"""

import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from fusionrun.cluster.execute import Executor
from fusionrun.cluster.gather import Gatherer
from fusionrun.cluster.store import Store
from fusionrun.metrics import Metrics
from fusionrun.progress import ProgressBoard
from fusionrun.settings import Settings
from fusionrun.state.decide import decide
from fusionrun.state.live import ObjectRef

logger = logging.getLogger(__name__)


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
        made = await self.executor.execute(live.run, decision, now)
        if made and woken_at is not None:
            took = time.monotonic() - woken_at
            self.metrics.transition_seconds.observe(took)
            woken = {"watched_at": time.time() - took, "made": [f"{m['kind']}/{m['metadata']['name']}" for m in made]}
            logger.info("transition in %.0f ms", 1000 * took, extra={"run": f"{run.namespace}/{run.name}", **woken})
        if decision.status is not None:
            self.metrics.status_changed(live.run, self.store.get(run) or live.run)
        # What we made changes what is: look again at once, and then it is quiet.
        return 0.0 if made else decision.requeue_seconds
