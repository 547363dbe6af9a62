"""Workloads that still seem to run or to exist without running pods: the watch of their kind may be missing.

kopf looks for a kind when its CRD changes. If the API server does not serve the kind yet, kopf does not watch it until
the next change of a CRD: a training operator that is installed after this operator would only be seen by the resync.
"""

import time
from collections.abc import Iterable

from fusionrun.api.contract import Manifest
from fusionrun.state.observe.late_workloads import LATE_SECONDS, seem_to_exist

FORGET_SECONDS = 600.0
"""Time after which a workload that has not been looked at is forgotten."""


class LateWorkloads:
    """Selects the workloads to read again: each at most every ``LATE_SECONDS``, and not at first sight."""

    def __init__(self) -> None:
        self._looked: dict[str, float] = {}
        """Monotonic time of the first sight or of the last request, by UID."""
        self._next_removal = 0.0

    def due(self, children: Iterable[Manifest]) -> list[Manifest]:
        """Return the workloads of a run to read now."""
        now = time.monotonic()
        if now >= self._next_removal:  # not at each call, which is one per reconcile of any run
            self._looked = {uid: at for uid, at in self._looked.items() if now - at < FORGET_SECONDS}
            self._next_removal = now + FORGET_SECONDS
        due = []
        for workload in seem_to_exist(list(children)):
            uid = workload["metadata"]["uid"]
            passed = now - self._looked.setdefault(uid, now)
            if passed >= LATE_SECONDS:
                self._looked[uid] = now
            if LATE_SECONDS <= passed < FORGET_SECONDS:
                due.append(workload)
        return due
