"""Commits of pinned hub repositories: the operator keeps a pin of 12 digits, and the hub needs the whole commit."""

import json

from fusionrun.api.artifacts import pin_file
from fusionrun_stages.volume.atomic import read_json, write_atomic
from fusionrun_stages.volume.paths import on_volume


def save_commit(uri: str, commit: str) -> None:
    """Save the commit of a repository under its pin.

    Source: huggingface.co/docs/huggingface_hub/guides/download: a commit hash must be full-length.
    """
    write_atomic(on_volume(pin_file(commit)), json.dumps({"uri": uri, "revision": commit}).encode())


def load_commit(pin: str) -> str | None:
    """Return the commit of a pin, or None if ``resolve`` saved none."""
    path = on_volume(pin_file(pin))
    return str(read_json(path)["revision"]) if path.is_file() else None
