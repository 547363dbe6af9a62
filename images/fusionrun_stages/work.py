"""The interface between ``__main__`` and the stages: what a stage gets, and what it returns."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from fusionrun.api.task import StageTask
from fusionrun.api.values import Values


class Report(Protocol):
    """Push progress to the operator. It never raises or waits, and limits its rate."""

    def __call__(self, done: int, total: int, unit: str = "", **numbers: float) -> None:
        """Report that ``done`` of ``total`` units are done. Only the latest call counts."""


@dataclass(frozen=True)
class Work:
    """One pod's part of a stage."""

    task: StageTask
    output: Path
    """The artifact's directory. It exists and is writable."""
    shard: int | None
    """Zero-based index of an Indexed stage's pod, else None."""
    pod_uid: str
    """Distinguishes this pod's files from those of an earlier pod that may still write."""
    report: Report


@dataclass(frozen=True)
class Made:
    """What a stage made: all of it is on the volume."""

    values: Values
    files: list[str] = field(default_factory=list)
    """Paths of the files relative to the artifact's directory."""
    details: dict[str, Any] = field(default_factory=dict)
    """For the manifest only: anything of interest to people."""
