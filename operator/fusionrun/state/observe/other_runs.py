"""Which artifacts of a run other runs of its namespace make or have made, from the workloads of those runs."""

from collections.abc import Iterable
from dataclasses import dataclass

from fusionrun import names
from fusionrun.api.contract import Manifest
from fusionrun.state.observe.live_objects import OtherWorkload
from fusionrun.state.observe.object_fields import is_deleting, stage_of
from fusionrun.state.observe.workloads import Phase, Workload, observe_workload


@dataclass(frozen=True)
class Maker:
    """A workload of another run that makes an artifact, or serves the stage that makes it, or has made it."""

    run: str
    uid: str
    """UID of the run."""
    stage: str
    workload: Workload


def makers(others: Iterable[OtherWorkload]) -> dict[str, list[Maker]]:
    """Return the workloads that make or have made artifacts, by digest.

    One that has failed or is being deleted makes nothing; one that has succeeded counts until it is gone.
    """
    found: dict[str, list[Maker]] = {}
    for other in others:
        workload = _observe(other)
        if workload.phase is Phase.SUCCEEDED or (workload.active and not is_deleting(other.workload)):
            metadata = other.run["metadata"]
            maker = Maker(metadata["name"], metadata["uid"], stage_of(other.workload) or "", workload)
            found.setdefault(other.workload["metadata"]["labels"][names.LABEL_ARTIFACT], []).append(maker)
    return found


def _observe(other: OtherWorkload) -> Workload:
    """Parse a workload, whether it is being deleted or not."""
    metadata = {k: v for k, v in other.workload["metadata"].items() if k != "deletionTimestamp"}
    workload: Manifest = other.workload | {"metadata": metadata}
    return observe_workload(workload, list(other.pods), {}, {})
