"""How long model servers hold their GPUs after the last pod of their client has ended."""

import time
from typing import Any

from fusionrun.names import LABEL_RUN, LABEL_STAGE, stage_from_label
from fusionrun.plan.stages import Plan


class IdleServers:
    """Times between the end of a client and the request that deletes its server. An observer of the API server."""

    def __init__(self, plan: Plan) -> None:
        self._clients = {stage.server: stage.name for stage in plan.stages if stage.server}
        self._ended: dict[tuple[str, str], float] = {}
        """Time at which the last pod of each stage ended, by run and stage."""
        self.seconds: list[float] = []

    def observe(self, change: str, manifest: dict[str, Any]) -> None:
        labels = manifest["metadata"].get("labels", {})
        if manifest["kind"] not in ("Pod", "Deployment") or LABEL_STAGE not in labels:
            return
        run, stage = labels[LABEL_RUN], stage_from_label(labels[LABEL_STAGE])
        if manifest["kind"] == "Deployment":
            ended = self._ended.get((run, self._clients[stage]))
            if change == "DELETED" and ended is not None:
                self.seconds.append(time.monotonic() - ended)
        elif manifest["status"].get("phase") == "Succeeded" and manifest["metadata"]["finalizers"]:
            # The end of the pod. Later, its finalizer is removed.
            self._ended[run, stage] = time.monotonic()
