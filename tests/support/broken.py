"""Broken FusionRuns: who refuses each, and with which words, as the head of its file says."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[1] / "crd" / "broken"
REFUSED_BY = ("admission", "update", "plan", "cluster", "resolve")
"""The API server at creation, and at a change; the plan's checks; what the cluster lacks; the resolve stage."""


@dataclass(frozen=True)
class Broken:
    """One file."""

    path: Path
    refused: str
    says: tuple[str, ...]
    """Fragments that the message must hold: field, value, rule."""

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def text(self) -> str:
        return self.path.read_text()

    @property
    def run(self) -> dict[str, Any]:
        return yaml.safe_load(self.text)


def read(path: Path) -> Broken:
    """Read the head of a file: ``# refused: WHO`` once, ``# says: FRAGMENT`` for each fragment."""
    head = [line[2:] for line in path.read_text().splitlines() if line.startswith("# ")]
    (refused,) = [line.removeprefix("refused: ") for line in head if line.startswith("refused: ")]
    return Broken(path, refused, tuple(line.removeprefix("says: ") for line in head if line.startswith("says: ")))


def broken(*refused: str) -> list[Broken]:
    """List the files that are refused by one of these, by name."""
    return [b for b in map(read, sorted(FOLDER.glob("*.yaml"))) if b.refused in (refused or REFUSED_BY)]
