"""Golden files: the plan and the objects of a sample, with the values that differ between clusters fixed."""

import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fusionrun import names
from fusionrun.api.crd.definition import to_yaml
from fusionrun.api.spec.evaluation import Grader
from fusionrun.api.stage import StageKind
from fusionrun.objects.render import render
from fusionrun.plan.pinned import PinnedPlan
from fusionrun.plan.stages import Stage
from fusionrun.settings import Images, Settings

GOLDEN = Path(__file__).parents[1] / "golden"
UPDATE = os.environ.get("UPDATE_GOLDEN") == "1"
SETTINGS = Settings(
    images=Images(data="data:1", serve="serve:1", train="train:1", reward="reward:1", sandbox="sandbox:1"),
    progress_url="http://fusionrun.fusionrun-system:8090",
    monitoring_namespaces=("monitoring",),
    server_key=b"a key for tests, of 32 bytes or more",
)


def objects_of(
    pinned: PinnedPlan, stages: Sequence[Stage] | None = None, settings: Settings = SETTINGS
) -> list[dict[str, Any]]:
    """Render the objects of these stages, by default of all, in plan order."""
    return [m for stage in stages or pinned.plan.stages for m in render(pinned, stage, 0, settings)]


def one_of_each_kind(pinned: PinnedPlan) -> list[Stage]:
    """List the first stage of each kind; of ``verify`` the first of each grader, and every check."""
    found: dict[tuple[StageKind, Grader | str | None], Stage] = {}
    for stage in pinned.plan.stages:
        found.setdefault((stage.kind, stage.name if stage.kind is StageKind.PREFLIGHT else stage.grader), stage)
    return list(found.values())


def text_of(objects: list[dict[str, Any]]) -> str:
    """Write objects as YAML, their tasks as mappings, so that a changed number is a changed line."""
    shown = [
        m | {"data": {k: json.loads(v) for k, v in m["data"].items()}} if m["kind"] == "ConfigMap" else m
        for m in objects
    ]
    return "".join(f"---\n{to_yaml(m)}" for m in shown)


def texts_by_kind(pinned: PinnedPlan) -> dict[str, str]:
    """Write the objects of one stage of each kind, by the file that holds them.

    The file of an object is its label app.kubernetes.io/component, a StageKind. Objects without it belong to the run.
    """
    files: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for manifest in objects_of(pinned, one_of_each_kind(pinned)):
        file = files[f"{manifest['metadata']['labels'].get(names.LABEL_COMPONENT, 'run-objects')}.yaml"]
        if manifest not in file:  # stages share NetworkPolicies and a Secret
            file.append(manifest)
    return {file: text_of(objects) for file, objects in files.items()}


def plan_text(pinned: PinnedPlan) -> str:
    """Write a plan as YAML: each stage, its dependencies and its digest."""
    stages = []
    for stage in pinned.plan.stages:
        fields = {"name": stage.name, "digest": pinned.digests.get(stage.name)}
        fields |= {"inputs": list(stage.inputs), "after": list(stage.after)}
        fields |= {"server": stage.server, "shards": stage.shards, "gpus": stage.gpus}
        stages.append({key: value for key, value in fields.items() if value})
    return to_yaml(stages)


def compare(path: Path, text: str) -> None:
    """Compare a golden file with a text; with ``UPDATE_GOLDEN=1`` write the file instead."""
    if UPDATE:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert path.is_file(), f"{path} is missing: UPDATE_GOLDEN=1 writes it"
    old, new = path.read_text().splitlines(), text.splitlines()
    for number, (was, now) in enumerate(zip(old, new, strict=False), 1):
        assert now == was, f"{path}:{number}: if the change is intended, UPDATE_GOLDEN=1 writes it"
    assert len(old) == len(new), path


def compare_folder(folder: Path, texts: Mapping[str, str]) -> None:
    """Compare the YAML files of a folder with texts by name; with ``UPDATE_GOLDEN=1`` also delete the others."""
    for stale in {p.name for p in folder.glob("*.yaml")} - set(texts):
        if UPDATE:
            (folder / stale).unlink()
        assert not (folder / stale).exists(), f"{folder / stale} is not a golden file: UPDATE_GOLDEN=1 deletes it"
    for name, text in texts.items():
        compare(folder / name, text)
