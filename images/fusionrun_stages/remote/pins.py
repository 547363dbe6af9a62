"""Commits of pinned hub repositories: the operator stores a short pin, the hub needs the full commit."""

import json
from pathlib import Path

from fusionrun.api.artifacts import ROOT
from fusionrun_stages.volume.atomic import read_json, write_atomic
from fusionrun_stages.volume.paths import PIN_DIGITS, on_volume


def _pin_file(pin: str) -> Path:
    return on_volume(f"{ROOT}/pins/{pin[:PIN_DIGITS]}.json")


def note_pin(uri: str, revision: str) -> None:
    """Note which commit a short pin stands for: the operator knows the pin, and the hub wants the commit.

    Notes
    -----
    Source: huggingface.co/docs/huggingface_hub/guides/download: a commit hash must be whole.
    """
    note = json.dumps({"uri": uri, "revision": revision})
    write_atomic(_pin_file(revision), note.encode())


def noted_revision(pin: str) -> str | None:
    """Return the commit that a short pin stands for, if ``resolve`` noted it."""
    path = _pin_file(pin)
    return str(read_json(path)["revision"]) if path.is_file() else None
