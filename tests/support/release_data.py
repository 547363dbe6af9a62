"""The data of a release for the compatibility tests of later ones: ``hack/release`` writes tests/releases/VERSION.

The code that writes the data in a cluster makes it. The same code always makes the same bytes.
"""

import importlib
import json
import pkgutil
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from fusionrun import api
from fusionrun.api.artifacts import ArtifactManifest, encode_manifest
from fusionrun.api.contract import Contract
from fusionrun.api.crd.definition import build_crd
from fusionrun.api.records import SCHEMA_VERSION
from fusionrun.api.results.result import Outcome, Progress, StageResult, decode_result, encode_result
from fusionrun.api.tasks.task import StageTask
from fusionrun.plan.defaults import descriptions
from support.golden import GOLDEN, objects_of, one_of_each_kind
from support.plans import pinned_of
from support.release import record, recorded_run, tasks
from support.world import succeeded

REPOSITORY = Path(__file__).parents[2]
RELEASES = REPOSITORY / "tests" / "releases"
SAMPLES = ("tiny", "llama-3-1-8b")
_FOLDERS = ("api/**/*.py", "plan/**/*.py", "objects/**/*.py", "state/**/*.py")
_CLUSTER = ("cluster/__init__.py", "cluster/store.py", "cluster/trim.py")
CORE = ("__init__.py", "errors.py", "names.py", "settings.py", *_FOLDERS, *_CLUSTER)
"""The parts of the operator that need only pydantic. They can run from a zip archive."""
WORLD = ("__init__.py", "release.py", "runs.py", "world.py")
LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The time of every file in the archive, so that only contents count: the earliest that the zip format has."""


def write(folder: Path) -> None:
    """Write the data of the current code into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    recorded = record(recorded_run())
    given = {sample: _sample_tasks(sample) for sample in SAMPLES}
    results = _results(recorded["objects"])
    _write(folder / "crd.json", build_crd(descriptions()))
    _write(folder / "contract.json", contract())
    sample_tasks = {f"{sample} {name}": task for sample in SAMPLES for name, task in given[sample].items()}
    _write(folder / "tasks.json", sample_tasks)
    _write(folder / "results.json", results)
    _write(folder / "manifests.json", _manifests(given["tiny"]))
    _write(folder / "run.json", recorded["run"])
    _write(folder / "objects.json", recorded["objects"])
    _write(folder / "moments.json", {moment["now"]: moment for moment in recorded["moments"]})
    _write_core(folder / "core.zip")


def read_run(folder: Path) -> dict[str, Any]:
    """Return the recorded run of a release, in the form of ``release.record``."""
    run, objects, moments = (json.loads((folder / f"{n}.json").read_text()) for n in ("run", "objects", "moments"))
    return {"run": run, "objects": objects, "moments": list(moments.values())}


def contract() -> dict[str, dict[str, Any]]:
    """Return by class the default of every field of the contract, or ``<required>``."""
    for module in pkgutil.iter_modules(api.__path__, f"{api.__name__}."):
        importlib.import_module(module.name)
    return {c.__name__: _defaults(c) for c in sorted(_below(Contract), key=lambda c: c.__name__)}


def _below(parent: type[Contract]) -> Iterable[type[Contract]]:
    for child in parent.__subclasses__():
        if child.__module__.startswith(api.__name__):
            yield child
            yield from _below(child)


def _defaults(model: type[Contract]) -> dict[str, Any]:
    return {
        field.alias or name: "<required>" if field.is_required() else _default(field.get_default())
        for name, field in model.model_fields.items()
    }


def _default(value: Any) -> Any:
    """Return a default as JSON; of a model only the fields that differ from their defaults."""
    if isinstance(value, Contract):
        return value.model_dump(mode="json", exclude_defaults=True)
    return to_jsonable_python(value)


def _sample_tasks(sample: str) -> dict[str, Any]:
    spec = json.loads((GOLDEN / sample / "run.json").read_text())["spec"]
    pinned = pinned_of(sample, spec)
    return tasks({str(i): o for i, o in enumerate(objects_of(pinned, one_of_each_kind(pinned)))})


def _results(objects: dict[str, Any]) -> dict[str, Any]:
    """Return what pods report: the result of a pod of each stage, two failures, and progress."""
    failures = {
        "failed": StageResult(outcome=Outcome.FAILED, user_error=True, message="datasets[math].uri: no such file"),
        "stalled": StageResult(outcome=Outcome.FAILED, server_wedged=True, message="the server generated no token"),
    }
    found = {name: json.loads(encode_result(result)) for name, result in failures.items()}
    found["progress"] = Progress(done=3, total=9, unit="prompts", numbers={"tokens": 1.5}).model_dump(mode="json")
    for key, manifest in objects.items():
        for container in manifest.get("status", {}).get("containerStatuses", ()):
            message = container["state"].get("terminated", {}).get("message", "")
            if decode_result(message) is not None:
                found[key.rsplit("-", 1)[0]] = json.loads(message)
    return found


def _manifests(given: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for name, text in given.items():
        task = StageTask.model_validate(text)
        result = succeeded(task.parameters.kind, task)
        manifest = ArtifactManifest(
            schema_version=SCHEMA_VERSION, stage=name, digest=task.digest, files={"part/0.parquet": 7},
            peak_memory_bytes=result.peak_memory_bytes, values=result.values, details={"why": ["it", "is", "recorded"]},
        )  # fmt: skip
        found[name] = json.loads(encode_manifest(manifest))
    return found


def _write(path: Path, found: dict[str, Any]) -> None:
    """Write JSON with a line for each entry, so that a later recording can be compared with an earlier one."""
    lines = (f"{json.dumps(key)}: {json.dumps(value, sort_keys=True)}" for key, value in found.items())
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def _write_core(path: Path) -> None:
    trees = ((REPOSITORY / "operator" / "fusionrun", CORE), (REPOSITORY / "tests" / "support", WORLD))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for root, patterns in trees:
            for file in sorted(file for pattern in patterns for file in root.glob(pattern)):
                entry = zipfile.ZipInfo(str(file.relative_to(root.parent)), LONG_AGO)
                archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)
