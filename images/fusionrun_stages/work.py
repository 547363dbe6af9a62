"""The interface between ``__main__`` and the stages: the input and the output of a stage's ``run``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel

from fusionrun.api.results.values import Values
from fusionrun.api.tasks.task import StageTask

P = TypeVar("P", bound=BaseModel)


class Report(Protocol):
    """Send progress to the operator, at a limited rate. It never raises or blocks."""

    def __call__(self, done: int, total: int, unit: str = "", **numbers: float) -> None:
        """Report that ``done`` of ``total`` units are done. Only the latest call counts."""


@dataclass(frozen=True)
class Work:
    """One pod's part of a stage."""

    task: StageTask
    output: Path
    """The artifact's directory. It exists and is writable."""
    shard: int | None
    """Zero-based index of the shard to make; None for a stage without shards."""
    pod_uid: str
    """Distinguishes this pod's files from those of an earlier pod that may still run."""
    report: Report

    def parameters(self, kind: type[P]) -> P:
        """Return the parameters of the stage, which are of this class."""
        assert isinstance(self.task.parameters, kind)
        return self.task.parameters


@dataclass(frozen=True)
class Made:
    """Result of a stage; its files are on the volume."""

    values: Values
    files: list[str] = field(default_factory=list)
    """Paths of the files relative to the artifact's directory."""
    details: dict[str, Any] = field(default_factory=dict)
    """Information for users; only in the manifest."""
