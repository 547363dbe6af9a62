"""What every earlier release wrote is read, kept and continued; and what is written now, an earlier release can read.

A folder here holds what one release wrote (``hack/release``): its code, its CRD, and a run recorded in each stage.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fusionrun.api.artifacts import Manifest
from fusionrun.api.crd import build_crd
from fusionrun.api.result import Progress, decode_result
from fusionrun.api.spec import FusionRunSpec
from fusionrun.api.status import read_status
from fusionrun.api.task import decode_task
from fusionrun.plan.defaults import descriptions
from support.release import DONE, continue_from, record, recorded_run, tasks
from support.release_data import RELEASES, contract, read_run, write

FOLDERS = sorted(path.parent for path in RELEASES.glob("*/run.json"))
AT_WORK = ("Running", "Ready")
LARGEST_BYTES = 1_000_000


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
def folder(request) -> Path:
    return request.param


def read(folder: Path, name: str) -> dict[str, Any]:
    return json.loads((folder / f"{name}.json").read_text())


def test_there_is_a_release():
    assert FOLDERS, "hack/release VERSION records one"


def test_a_recording_is_small_and_always_the_same(tmp_path):
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        write(folder)
    files = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders]
    assert files[0] == files[1]
    assert sum(map(len, files[0].values())) < LARGEST_BYTES


# What an earlier release wrote, read now ---------------------------------------------------------------------------


def lost(written: Any, found: Any, path: str = "") -> Iterator[str]:
    """Yield what was written and is not there once it is read; what a later release has added may be there, too."""
    if isinstance(written, dict) and isinstance(found, dict):
        for key, value in written.items():
            yield from lost(value, found.get(key), f"{path}.{key}")
    elif isinstance(written, list) and isinstance(found, list) and len(written) == len(found):
        for index, pair in enumerate(zip(written, found, strict=True)):
            yield from lost(*pair, f"{path}[{index}]")
    elif written != found:
        yield f"{path}: {written!r} is read as {found!r}"


def test_every_task_is_read_whole(folder):
    for name, task in [*read(folder, "tasks").items(), *tasks(read(folder, "objects")).items()]:
        assert not [*lost(task, decode_task(json.dumps(task)).model_dump(mode="json"), name)]


def test_every_result_and_progress_is_read_whole(folder):
    said = read(folder, "results")
    progress = said.pop("progress")
    assert not [*lost(progress, Progress.model_validate(progress).model_dump(mode="json"))]
    for name, result in said.items():
        assert not [*lost(result, decode_result(json.dumps(result)).model_dump(mode="json"), name)]


def test_every_manifest_is_read_whole(folder):
    for name, manifest in read(folder, "manifests").items():
        assert not [*lost(manifest, Manifest.model_validate(manifest).model_dump(mode="json"), name)]


def test_every_status_is_read_whole(folder):
    for now, moment in read(folder, "moments").items():
        assert not [*lost(moment["status"], read_status(moment["status"]).model_dump(mode="json"), now)]


def test_what_is_not_read_is_noticed():
    assert [*lost({"a": [{"b": 1}]}, {"a": [{"b": 2, "c": 3}]})] == [".a[0].b: 1 is read as 2"]


def test_a_field_of_a_spec_is_never_taken_away(folder):
    (kept,) = [o for key, o in read(folder, "objects").items() if key.endswith("-spec")]
    FusionRunSpec.model_validate(read(folder, "run")["spec"], extra="forbid")
    FusionRunSpec.model_validate(json.loads(kept["data"]["spec.json"]), extra="forbid")


def test_a_fields_default_never_changes_and_a_new_field_has_one(folder):
    """A writer leaves out what is at its default, and a reader of another release fills it in."""
    now = contract()
    for name, fields in read(folder, "contract").items():
        assert fields.items() <= now[name].items(), name
        added = {field: now[name][field] for field in now[name].keys() - fields.keys()}
        assert "<required>" not in added.values(), (name, added)


NARROWER_IF_ABOVE = ("minimum", "minLength", "minItems", "minProperties")
NARROWER_IF_BELOW = ("maximum", "maxLength", "maxItems", "maxProperties")
FIXED = ("type", "pattern", "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-int-or-string")


def narrower(old: dict[str, Any], new: dict[str, Any], path: str) -> Iterator[str]:
    """Yield where a schema refuses, or drops, a value that an earlier one took."""
    yield from (f"{path}: {key}" for key in FIXED if old.get(key) != new.get(key))
    for keys, sign in ((NARROWER_IF_ABOVE, 1), (NARROWER_IF_BELOW, -1)):
        yield from (f"{path}: {k}" for k in keys if k in new and (k not in old or sign * (new[k] - old[k]) > 0))
    if "enum" in new and not set(old.get("enum", [None])) <= set(new["enum"]):
        yield f"{path}: enum"
    yield from (f"{path}.{name}: required" for name in set(new.get("required", ())) - set(old.get("required", ())))
    for name, child in old.get("properties", {}).items():
        if name in new.get("properties", {}):
            yield from narrower(child, new["properties"][name], f"{path}.{name}")
        else:
            yield f"{path}.{name}: removed"
    for key in ("items", "additionalProperties"):
        if key in old:
            yield from narrower(old[key], new.get(key, {}), f"{path}[]")


def schema_of(crd: dict[str, Any]) -> dict[str, Any]:
    return crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def test_the_crd_takes_whatever_the_releases_crd_took(folder):
    assert list(narrower(schema_of(read(folder, "crd")), schema_of(build_crd(descriptions())), "")) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"type": "string"}, {"type": "integer"}),
        ({"type": "string"}, {"type": "string", "enum": ["a"]}),
        ({"enum": ["a", "b"]}, {"enum": ["a"]}),
        ({"maximum": 5}, {"maximum": 4}),
        ({}, {"minLength": 1}),
        ({"properties": {"a": {}}}, {"properties": {"a": {}}, "required": ["a"]}),
        ({"properties": {"a": {}}}, {"properties": {"b": {}}}),
        ({"items": {"maximum": 5}}, {"items": {"maximum": 4}}),
    ],
)
def test_a_narrower_schema_is_noticed(old, new):
    assert list(narrower(old, new, ""))
    assert list(narrower(old, old, "")) == []


# A run in flight at an upgrade, and at a rollback ------------------------------------------------------------------


def check_continued(recorded: dict[str, Any], moment: dict[str, Any], outcome: dict[str, Any]) -> None:
    """Check that nothing was made twice, and nothing otherwise than it was to be."""
    assert outcome["complete"] == "True", outcome["ready"]
    assert outcome["attempts"] == {}
    begun = {s["name"] for s in moment["status"]["stages"] if s["state"] in (*DONE, *AT_WORK)}
    made = {key.partition(":")[2].replace(".", "/", 1) for key in outcome["created"] if not key.endswith(":")}
    assert made & begun == set()
    digests = {stage: task["digest"] for stage, task in tasks(recorded["objects"]).items()}
    assert outcome["digests"] == digests
    kept = {key for key in moment["objects"] if not key.startswith(("Deployment/", "Service/"))}
    assert kept <= set(outcome["objects"])
    workloads = {key for key in outcome["objects"] if key.startswith(("Job/", "PyTorchJob/", "Deployment/"))}
    assert workloads <= set(recorded["objects"])


def test_a_run_of_an_earlier_release_goes_on_from_every_stage(folder):
    recorded = read_run(folder)
    for moment in recorded["moments"]:
        check_continued(recorded, moment, continue_from(recorded, moment))


def test_an_earlier_release_goes_on_with_a_run_of_today(folder):
    """Where it would make other artifacts, it waits."""
    recorded = record(recorded_run())
    asked = json.dumps({"recorded": recorded, "tasks": [*tasks(recorded["objects"]).values()]})
    path = os.pathsep.join([str(folder / "core.zip"), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run([sys.executable, "-m", "support.release"], input=asked, capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": path}, cwd=folder, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["code"] == str(folder / "core.zip" / "fusionrun" / "__init__.py")
    for moment, outcome in zip(recorded["moments"], answer["outcomes"], strict=True):
        if outcome["ready"][0] == "OperatorTooOld":
            assert outcome["created"] == []
            assert outcome["objects"] == sorted(moment["objects"])
        else:
            check_continued(recorded, moment, outcome)
