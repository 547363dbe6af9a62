"""Workloads that still seem to run although all of their pods have ended, and deleted ones that still seem to exist."""

from collections.abc import Sequence

from fusionrun.api.contract import Manifest
from fusionrun.state.observe.object_fields import JOBS, attempt_of, has_ended, is_deleting, pod_ended, stage_of
from fusionrun.state.observe.workloads import pods_succeeded

LATE_SECONDS = 10.0
"""Time that the watch of a workload may lag behind that of its pods before the workload is read.

A Job also seems to run while its controller waits before the next retry of a pod; reading it then does no harm.
"""


def seem_to_exist(children: Sequence[Manifest]) -> list[Manifest]:
    """Return the Jobs, PyTorchJobs and TrainJobs that may have ended or may be gone without an event of a watch.

    They have not ended, and all of their pods, at least one, have; or they are being deleted, and no pod is left. A Job
    whose pods have succeeded is not read: the stage has ended, and its controller is behind.
    """
    pods: dict[tuple[str | None, int], list[Manifest]] = {}
    for pod in (child for child in children if child["kind"] == "Pod"):
        pods.setdefault((stage_of(pod), attempt_of(pod)), []).append(pod)

    def is_late(workload: Manifest) -> bool:
        own = pods.get((stage_of(workload), attempt_of(workload)), [])
        if not all(map(pod_ended, own)):
            return False
        if is_deleting(workload):
            return True
        return bool(own) and not has_ended(workload) and not pods_succeeded(workload, own)

    return [child for child in children if child["kind"] in JOBS and is_late(child)]
