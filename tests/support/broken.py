"""Broken FusionRuns: patches of one valid run, what refuses each, and the message."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from support.runs import change

CRD = Path(__file__).parents[1] / "crd"
REFUSED_BY = ("admission", "update", "plan", "cluster", "secret", "resolve")
"""The API server at creation and at an update, the plan's checks, a missing object or Secret, the resolve stage.

Each has a file of cases in tests/crd/broken.
"""


@dataclass(frozen=True)
class Broken:
    """One case."""

    name: str
    refused: str
    changes: dict[str, Any]
    """The fields that differ from the valid run, by path."""
    message: tuple[str, ...]
    """Texts that the message must contain: field, value, rule."""
    reason: str
    """The reason of condition Ready, if the run waits for a cluster object."""

    @property
    def run(self) -> dict[str, Any]:
        run = valid_run()
        run["metadata"]["name"] = "broken"
        for path, value in self.changes.items():
            change(run, path, value)
        return run

    @property
    def text(self) -> str:
        return json.dumps(self.run)


def valid_run() -> dict[str, Any]:
    """Read the run that every case changes."""
    return yaml.safe_load((CRD / "base.yaml").read_text())


def broken(*refused: str) -> list[Broken]:
    """List the cases that one of these refuses, by name; without arguments, all."""
    return [
        Broken(name, by, case["set"], tuple(case["message"]), case.get("reason", ""))
        for by in refused or REFUSED_BY
        for name, case in sorted(yaml.safe_load((CRD / "broken" / f"{by}.yaml").read_text()).items())
    ]
