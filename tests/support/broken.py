"""Broken FusionRuns: the head of each file says which check rejects it, and what the message contains."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[1] / "crd" / "broken"
REFUSED_BY = ("admission", "update", "plan", "cluster", "resolve")
"""The API server at creation or update, the checks of the plan, a missing prerequisite, or the resolve stage."""


@dataclass(frozen=True)
class Broken:
    """A file with a broken FusionRun."""

    path: Path
    refused: str
    says: tuple[str, ...]
    """Texts that the message contains: field, value, rule."""

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
    """Read the head of a file: one line ``# refused: CHECK``, and lines ``# says: TEXT``."""
    head = [line[2:] for line in path.read_text().splitlines() if line.startswith("# ")]
    (refused,) = [line.removeprefix("refused: ") for line in head if line.startswith("refused: ")]
    return Broken(path, refused, tuple(line.removeprefix("says: ") for line in head if line.startswith("says: ")))


def broken(*refused: str) -> list[Broken]:
    """Return the files that one of these checks rejects, sorted by name."""
    return [b for b in map(read, sorted(FOLDER.glob("*.yaml"))) if b.refused in (refused or REFUSED_BY)]
