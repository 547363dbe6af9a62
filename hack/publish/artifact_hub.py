"""What Artifact Hub shows of a release: examples, images and changes, as annotations in the Chart.yaml of its package.

Source: Artifact Hub, "Artifact Hub annotations in Helm Chart.yaml file". The values are YAML, of which JSON is a part.
"""

import json
import re
from collections.abc import Iterable

from sources import REPOSITORY

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


def annotations(references: Iterable[str], changelog: str) -> dict[str, str]:
    """Return annotations from the references of all images and the section of the release in the changelog."""
    example = "".join(f"  {line}\n" for line in EXAMPLE.read_text().splitlines() if not line.startswith(("#", "---")))
    found = {
        "artifacthub.io/crdsExamples": "-" + example[1:],
        "artifacthub.io/images": _items({"name": _name(reference), "image": reference} for reference in references),
        "artifacthub.io/changes": _items(changes(changelog)),
    }
    return {name: text for name, text in found.items() if text}


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


def _items(values: Iterable[dict[str, str]]) -> str:
    return "".join(f"- {json.dumps(value, ensure_ascii=False)}\n" for value in values)
