"""What a stage program is given, and what it answers: the interface between ``__main__`` and the stages."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from fusionrun.api.task import StageTask


class Report(Protocol):
    """Push progress to the operator; never raises, never waits, limits its own rate."""

    def __call__(self, done: int, total: int, unit: str = "", **numbers: float) -> None:
        """Say that ``done`` of ``total`` units are done; the newest call wins."""


@dataclass(frozen=True)
class Work:
    """One pod's part of a stage."""

    task: StageTask
    output: Path
    """The artifact's directory: exists and is writable."""
    shard: int | None
    """Zero-based index of an Indexed stage's pod, else None."""
    pod_uid: str
    """Tells this pod's files from those of a predecessor that may still be writing."""
    report: Report


@dataclass(frozen=True)
class Made:
    """What a stage made, all of it on disk."""

    files: list[str] = field(default_factory=list)
    """Relative to the artifact's directory; every one exists."""
    counts: dict[str, int] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    """For the manifest alone: anything of interest to people."""
    pins: list[str] = field(default_factory=list)
    """``resolve`` only: the short fingerprint of each reference."""
    complete: list[int] = field(default_factory=list)
    """``resolve`` only: indexes of the planned stages whose artifact is complete."""
