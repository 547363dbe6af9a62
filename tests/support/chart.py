"""How to render the chart, and what is in it."""

from pathlib import Path
from typing import Any

from fusionrun.settings import Settings
from fusionrun.settings_file import load_settings

Manifest = dict[str, Any]
CHART = Path(__file__).parents[2] / "helm" / "fusionrun"
KUBE_VERSION = "1.29.0"
"""The oldest version that Chart.yaml allows. Without one, a Helm that is built from its module assumes 1.20."""


def template(namespace: str, *options: str, helm: str = "helm") -> list[str]:
    """Return the command that renders the chart as the release ``fusionrun``."""
    command = [helm, "template", "fusionrun", str(CHART), "--namespace", namespace]
    return [*command, "--kube-version", KUBE_VERSION, *options]


def one(documents: list[Manifest], kind: str, name: str | None = None) -> Manifest:
    """Return the only object of a kind, or of a kind and name."""
    found = [d for d in documents if d["kind"] == kind and name in (None, d["metadata"]["name"])]
    assert len(found) == 1, [f"{d['kind']}/{d['metadata']['name']}" for d in documents]
    return found[0]


def settings_of(documents: list[Manifest], folder: Path) -> Settings:
    """Return the settings as the operator reads them; ``folder`` gets the files."""
    path, key = folder / "settings.yaml", folder / "key"
    key.write_text("k" * 32)
    text = one(documents, "ConfigMap", "fusionrun-settings")["data"]["settings.yaml"]
    path.write_text(text.replace("/etc/fusionrun-key", str(folder)))
    return load_settings(path)
