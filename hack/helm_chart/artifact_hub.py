"""What Artifact Hub shows of a package of the chart: examples, images and changes, as annotations of its Chart.yaml.

Source: Artifact Hub, "Artifact Hub annotations in Helm Chart.yaml file".
"""

import re
from collections.abc import Sequence
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLE = REPOSITORY / "manifests" / "samples" / "one-gpu.yaml"
KINDS = {
    "Upgrade notes": "changed",
    "Added": "added",
    "Changed": "changed",
    "Deprecated": "deprecated",
    "Removed": "removed",
    "Fixed": "fixed",
    "Security": "security",
}
"""Artifact Hub's kinds of changes, by the sections of the changelog."""


def annotate(chart: Path, references: Sequence[str], changelog: str, url: str = "") -> None:
    """Add the annotations to the Chart.yaml of a copy of the chart.

    ``references`` are those of all images, ``changelog`` the section of the release in CHANGELOG.md, and ``url`` the
    address of the repository, if it is known.
    """
    file = chart / "Chart.yaml"
    metadata = yaml.safe_load(file.read_text())
    metadata["annotations"] |= {
        "artifacthub.io/crdsExamples": _dump([yaml.safe_load(EXAMPLE.read_text())]),
        "artifacthub.io/images": _dump([{"name": _name(r), "image": r} for r in references]),
        "artifacthub.io/changes": _dump(changes(changelog)),
    }
    if url:
        metadata |= {"home": url, "sources": [url]}
    file.write_text(_dump(metadata))


def changes(changelog: str) -> list[dict[str, str]]:
    """Return the items of a section of the changelog with their kinds."""
    found = []
    for title, text in re.findall(r"^### (.*)\n((?:(?!### ).*\n?)*)", changelog, re.MULTILINE):
        items = re.findall(r"^- (.*(?:\n  .*)*)", text, re.MULTILINE)
        found += [{"kind": KINDS[title], "description": " ".join(item.split())} for item in items]
    return found


def _name(reference: str) -> str:
    """Return the last part of the name of an image, without tag and digest."""
    return reference.partition("@")[0].rpartition("/")[2].partition(":")[0]


def _dump(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False, width=120, allow_unicode=True)
