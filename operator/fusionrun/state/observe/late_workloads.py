"""Workloads that still seem to run although all of their pods have ended."""

from collections.abc import Sequence

from fusionrun.api.models import Manifest
from fusionrun.state.observe.object_fields import JOBS, attempt_of, has_ended, is_deleting, pod_ended, stage_of

LATE_SECONDS = 10.0
"""Time that the watch of a workload may lag behind that of its pods before the workload is read.

A Job also seems to run while its controller waits before the next retry of a pod; reading it then does no harm.
"""


def seem_to_run(children: Sequence[Manifest]) -> list[Manifest]:
    """Return the Jobs, PyTorchJobs and TrainJobs that have not ended, and whose pods, at least one, have all ended."""
    pods: dict[tuple[str | None, int], list[bool]] = {}
    for pod in (child for child in children if child["kind"] == "Pod"):
        pods.setdefault((stage_of(pod), attempt_of(pod)), []).append(pod_ended(pod))
    running = (c for c in children if c["kind"] in JOBS and not has_ended(c) and not is_deleting(c))
    return [c for c in running if (ended := pods.get((stage_of(c), attempt_of(c)))) and all(ended)]
