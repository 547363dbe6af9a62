"""Workloads that still seem to run although all of their pods have ended."""

from collections.abc import Sequence

from fusionrun.api.models import Manifest
from fusionrun.names import LABEL_ATTEMPT, LABEL_STAGE
from fusionrun.state.observe.object_fields import has_ended, is_deleting, pod_ended

LATE_SECONDS = 10.0
"""Time that the watch of a workload may lag behind that of its pods before the workload is read.

A Job also seems to run while its controller waits before the next retry of a pod; reading it then does no harm.
"""
_KINDS = ("Job", "PyTorchJob", "TrainJob")


def seem_to_run(children: Sequence[Manifest]) -> list[Manifest]:
    """Return the Jobs, PyTorchJobs and TrainJobs that have not ended, and whose pods, at least one, have all ended."""
    pods: dict[tuple[str, str], list[bool]] = {}
    for pod in (child for child in children if child["kind"] == "Pod"):
        pods.setdefault(_attempt(pod), []).append(pod_ended(pod))
    running = (c for c in children if c["kind"] in _KINDS and not has_ended(c) and not is_deleting(c))
    return [c for c in running if (ended := pods.get(_attempt(c))) and all(ended)]


def _attempt(manifest: Manifest) -> tuple[str, str]:
    """Return the stage and the attempt of an object; the pods of a TrainJob have another owner than it."""
    labels = manifest["metadata"].get("labels") or {}
    return labels.get(LABEL_STAGE, ""), labels.get(LABEL_ATTEMPT, "")
