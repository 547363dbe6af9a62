"""Which artifacts of a run other runs of its namespace make or have made, from the workloads of those runs."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from fusionrun import names
from fusionrun.api.models import Manifest
from fusionrun.api.status import Reason
from fusionrun.state.observe.live_objects import OtherWorkload
from fusionrun.state.observe.object_fields import parse_time, stage_of
from fusionrun.state.observe.workloads import Phase, Workload, observe_workload

_PLACED = (Reason.PODS_RUNNING, Reason.SERVER_READY)


@dataclass(frozen=True)
class Maker:
    """A workload of another run that makes an artifact, or serves the stage that makes it, or has made it."""

    run: str
    stage: str
    digest: str
    completed: datetime | None
    """Time at which the artifact was complete; None while it is being made."""
    placed: bool
    """Whether a pod of it runs."""
    since: datetime | None
    """Time of its creation; None if it is being created now."""


def makers(others: Iterable[OtherWorkload]) -> dict[str, list[Maker]]:
    """Return the workloads that make or have made artifacts, by digest; without those that have failed."""
    found: dict[str, list[Maker]] = {}
    for other in others:
        if maker := _maker(other):
            found.setdefault(maker.digest, []).append(maker)
    return found


def _maker(other: OtherWorkload) -> Maker | None:
    workload = _observe(other.workload)
    completed = workload.phase is Phase.SUCCEEDED
    if workload.phase is Phase.FAILED or (completed and workload.ended is None):
        return None
    metadata = other.workload["metadata"]
    stage = stage_of(other.workload) or ""
    return Maker(
        run=other.run["metadata"]["name"],
        stage=stage,
        digest=metadata["labels"][names.LABEL_ARTIFACT],
        completed=workload.ended if completed else None,
        placed=_reason(other.run, stage) in _PLACED,
        since=parse_time(metadata.get("creationTimestamp")),
    )


def _observe(manifest: Manifest) -> Workload:
    """Parse a workload without its pods. One that has ended and is being deleted has ended."""
    metadata = {k: v for k, v in manifest["metadata"].items() if k != "deletionTimestamp"}
    return observe_workload(manifest | {"metadata": metadata}, [], {}, {})


def _reason(run: Manifest, stage: str) -> str | None:
    stages = (run.get("status") or {}).get("stages") or []
    return next((s.get("reason") for s in stages if s["name"] == stage), None)
