"""What every earlier release wrote is read, kept and continued; and what is written now, an earlier release can read.

A folder here holds what one release wrote (``hack/release``): its code, its CRD, and a run recorded in each stage.
"""

import copy
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fusionrun import __version__
from fusionrun.api import artifacts, pod
from fusionrun.api.artifacts import ArtifactManifest, decode_manifest, encode_manifest
from fusionrun.api.crd.definition import build_crd
from fusionrun.api.records import Response
from fusionrun.api.results.release_0_2 import FlatValues
from fusionrun.api.results.result import Outcome, Progress, StageResult, decode_result, encode_result
from fusionrun.api.results.values import Constructed, DatasetCounts, Evaluated, Resolved, SourceCounts
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.status.run import NOT_OBSERVED, read_status
from fusionrun.api.tasks.task import decode_task
from fusionrun.plan.defaults import descriptions
from fusionrun.state.observe import accepted_run
from fusionrun.state.report import results
from fusionrun.state.report.gate import gate_failures
from fusionrun.state.report.scores import with_scores
from support.release import DONE, continue_from, record, recorded_run, tasks
from support.release_data import RELEASES, contract, read_run, write
from support.world import START, World

CONSTRUCTED = Constructed(
    sft_rows=7,
    pairs=5,
    by_source={"ada": SourceCounts(sft_rows=4, pairs=5), "bob": SourceCounts(sft_rows=3)},
    drops={"AllCorrect": 2},
)
"""What the recorded run's construction reports (``support.world``)."""

FOLDERS = sorted(path.parent for path in RELEASES.glob("*/run.json"))
AT_WORK = ("Running", "Ready")
LARGEST_BYTES = 1_500_000


@pytest.fixture(scope="session")
def next_release(tmp_path_factory) -> Path:
    """Return what ``hack/release`` would record now."""
    path = tmp_path_factory.mktemp("releases") / "next"
    write(path)
    return path


@pytest.fixture(params=[*FOLDERS, None], ids=lambda folder: folder.name if folder else "the next one")
def folder(request) -> Path:
    return request.param or request.getfixturevalue("next_release")


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


def recorded_results(folder: Path) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the recorded results with the kinds of their stages, by name."""
    found = read(folder, "results")
    del found["progress"]
    return {name: (name.split("-")[1] if "-" in name else "", result) for name, result in found.items()}


def test_every_result_and_progress_is_read_whole(folder):
    progress = read(folder, "results")["progress"]
    assert not [*lost(progress, Progress.model_validate(progress).model_dump(mode="json"))]
    for name, (kind, result) in recorded_results(folder).items():
        again = json.loads(encode_result(decode_result(json.dumps(result), kind)))
        assert not [*lost(result, again, name)]


def test_the_values_of_every_result_are_typed(folder):
    found = {name: decode_result(json.dumps(r), kind) for name, (kind, r) in recorded_results(folder).items()}
    assert all((r.values is None) is (r.outcome is Outcome.FAILED) for r in found.values())
    by_kind = {r.values.kind: r for r in found.values() if r.values is not None}
    assert {r.peak_memory_bytes for r in by_kind.values()} == {1000}
    assert by_kind["resolve"].values == Resolved(pins=[f"{n:012x}" for n in range(8)])
    assert by_kind["construct"].values == CONSTRUCTED
    assert by_kind["evaluate"].values == Evaluated(scores={"code-test": 60.0, "math-test": 60.0})


def test_every_manifest_is_read_whole(folder):
    for name, manifest in read(folder, "manifests").items():
        found = decode_manifest(json.dumps(manifest).encode(), name.partition("/")[0])
        common = {key: value for key, value in manifest.items() if key not in FlatValues.model_fields}
        assert not [*lost(common, found.model_dump(mode="json"), name)]
        if name == "construct":
            assert found.values == CONSTRUCTED
            assert not [*lost(manifest["counts"], json.loads(encode_manifest(found))["counts"])]


def test_every_status_is_read_whole(folder):
    for now, moment in read(folder, "moments").items():
        assert not [*lost(moment["status"], read_status(moment["status"]).model_dump(mode="json"), now)]


def test_what_is_not_read_is_noticed():
    assert [*lost({"a": [{"b": 1}]}, {"a": [{"b": 2, "c": 3}]})] == [".a[0].b: 1 is read as 2"]


def test_a_field_of_a_spec_is_never_taken_away(folder):
    (kept,) = [o for key, o in read(folder, "objects").items() if key.endswith("-spec")]
    FusionRunSpec.model_validate(read(folder, "run")["spec"], extra="forbid")
    FusionRunSpec.model_validate(json.loads(kept["data"]["spec.json"]), extra="forbid")


OPTIONAL_NOW = {
    "Benchmark": {"uri", "grader"},
    "FusionRunSpec": {"target", "sources", "rewardModel", "datasets"},
}
"""Fields that were required: a recorded spec has them all the same, since ``plan.defaults`` fills them in. A run with
``evaluateOnly``, which an earlier release refuses, has none of those of ``FusionRunSpec``."""
MOVED = {"Manifest": ("ArtifactManifest", "FlatValues"), "StageResult": ("StageResult", "FlatValues")}
"""Classes of earlier releases whose fields are in others now."""


def test_a_fields_default_never_changes_and_a_new_field_has_one(folder):
    """A writer leaves out what is at its default, and a reader of another release fills it in."""
    now = contract()
    for name, parts in MOVED.items():
        now[name] = {field: default for part in parts for field, default in now[part].items()}
    for name, fields in read(folder, "contract").items():
        kept = {f: default for f, default in fields.items() if f not in OPTIONAL_NOW.get(name, ())}
        assert kept.items() <= now[name].items(), name
        assert fields.keys() <= now[name].keys(), name
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


def test_release_0_2_accepts_a_run_with_the_default_status():
    """After a rollback, the CRD may still be that of this release."""
    run = read_run(RELEASES / "0.2.0")["run"]
    statuses = {"observedGeneration": NOT_OBSERVED}, {}
    moments = [{"run": run | {"status": status}, "objects": [], "now": START.isoformat()} for status in statuses]
    new, without = run_release(RELEASES / "0.2.0", ["-c", SETTLED_BY_0_2], moments)
    assert new == without
    assert new[0] == "StagesRunning"


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


def run_release(folder: Path, program: list[str], given: Any) -> Any:
    """Run a program with the code of an earlier release; give and take JSON."""
    path = os.pathsep.join([str(folder / "core.zip"), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run([sys.executable, *program], input=json.dumps(given), capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": path}, cwd=folder, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


READ_RESPONSE = """
import json, sys
from fusionrun.api.records import Response
print(Response.model_validate(json.load(sys.stdin)).model_dump_json())
"""


def test_an_earlier_release_reads_a_response_of_today_and_the_other_way_round(folder):
    key = {"prompt_id": "p", "dataset": "d", "source": "s", "sample_index": 0, "finish_reason": "stop"}
    row = Response(**key, text="4", reasoning="2+2")
    earlier = run_release(folder, ["-c", READ_RESPONSE], row.model_dump())
    assert Response.model_validate(earlier) == row.model_copy(update={"reasoning": earlier.get("reasoning")})


def without_new_stages(run: dict[str, Any]) -> dict[str, Any]:
    """Return a run without benchmarks: with some, it has the stage ``compare``, which release 0.2.0 does not know."""
    return run | {"spec": run["spec"] | {"evaluation": {}}}


def without_pods(keys: Iterable[str]) -> list[str]:
    return sorted(key for key in keys if not key.startswith("Pod/"))


@pytest.mark.parametrize("version", [__version__, "99.0.0"], ids=["same version", "newer version"])
def test_an_earlier_release_goes_on_with_a_run_of_today(folder, version, monkeypatch):
    """Where it would make other artifacts, it waits; the version is raised only when a release is made."""
    monkeypatch.setattr(accepted_run, "__version__", version)
    recorded = record(without_new_stages(recorded_run()))
    given = {"recorded": recorded, "tasks": [*tasks(recorded["objects"]).values()]}
    answer = run_release(folder, ["-m", "support.release"], given)
    assert answer["code"] == str(folder / "core.zip" / "fusionrun" / "__init__.py")
    for moment, outcome in zip(recorded["moments"], answer["outcomes"], strict=True):
        if outcome["ready"][0] == "OperatorTooOld":
            assert outcome["created"] == []
            assert without_pods(outcome["objects"]) == without_pods(moment["objects"])  # what runs continues
        else:
            check_continued(recorded, moment, outcome)


SETTLED_BY_0_2 = """
import json, sys
from datetime import datetime
from support.release import ref_of
from support.world import World
found = []
for moment in json.load(sys.stdin):
    objects = {ref_of(o): o for o in moment["objects"]}
    before = set(objects)
    world = World(moment["run"], now=datetime.fromisoformat(moment["now"]), objects=objects)
    world.settle()
    conditions = {c["type"]: c for c in world.run["status"]["conditions"]}
    found.append([conditions["Ready"]["reason"], world.created, len(before - set(world.objects))])
json.dump(found, sys.stdout)
"""


@pytest.mark.parametrize("checked", [True, False], ids=["preflight", "compare"])
def test_release_0_2_waits_with_a_run_that_has_stages_which_it_does_not_know(checked):
    """Its plan has no stages of these kinds, so its digests are not those in RUN-resolved."""
    run = recorded_run()
    run = without_new_stages(run) if checked else run
    world = World(run | {"spec": run["spec"] | {"preflight": {"enabled": checked}}})
    world.settle()
    moments = []
    while world.step():
        for settle in (False, True):  # a result that no operator has read, too
            if settle:
                world.settle()
            moment = {"run": world.run, "objects": [*world.objects.values()], "now": world.now.isoformat()}
            moments.append(copy.deepcopy(moment))
    assert world.condition("Complete")[0] == "True"
    going_on = [m for m in moments if not m["run"]["status"].get("completionTime")]
    answers = run_release(RELEASES / "0.2.0", ["-c", SETTLED_BY_0_2], going_on)
    assert len(answers) > 20
    assert all(answer == ["OperatorTooOld", [], 0] for answer in answers)


STATUS_OF_0_2 = """
import json, sys
from fusionrun.api.artifacts import Manifest
from fusionrun.api.result import decode_result
from fusionrun.api.spec import FusionRunSpec
from fusionrun.state import results
given = json.load(sys.stdin)
spec = FusionRunSpec.model_validate(given["spec"])
rows = []
for model, text in given["scores"].items():
    rows = results.with_scores(rows, spec.evaluation, model, [decode_result(text)])
manifest = Manifest.model_validate(given["manifest"])
json.dump({
    "dataset": results.dataset_summary([decode_result(given["constructed"])], spec).model_dump(mode="json"),
    "of_manifest": results.dataset_summary([decode_result('{"outcome": "Succeeded"}').model_copy(
        update={"counts": manifest.counts, "numbers": manifest.numbers})], spec).model_dump(mode="json"),
    "results": [row.model_dump(mode="json") for row in rows],
    "gate": results.gate_failures(spec.evaluation, rows),
}, sys.stdout)
"""


RESULT_OF_0_2 = ("benchmark", "base", "sft", "final", "delta")
"""Fields of the status of a benchmark in release 0.2.0."""

POD_OF_0_2 = """
import json, sys
from fusionrun.api import artifacts, task
from fusionrun.state.observe import INDEX_ANNOTATION
json.load(sys.stdin)
names = ("TASK_PATH", "TERMINATION_PATH", "PROGRESS_URL_ENV", "METRICS_PORT_ENV", "METRICS_PORT", "EXIT_USER_ERROR",
         "EXIT_INFRASTRUCTURE", "EXIT_SERVER_WEDGED")
json.dump({name: getattr(task, name) for name in names} | {
    "COMPLETION_INDEX_ANNOTATION": INDEX_ANNOTATION,
    "manifests": artifacts.manifest_paths(artifacts.artifact_dir("generate", "d"), 2),
    "manifest": artifacts.manifest_paths(artifacts.artifact_dir("sft", "d"), None),
    "model": artifacts.model_dir("p"),
}, sys.stdout)
"""


def test_the_interface_of_a_pod_is_that_of_release_0_2():
    for name, value in run_release(RELEASES / "0.2.0", ["-c", POD_OF_0_2], {}).items():
        match name:
            case "manifests":
                assert artifacts.manifest_paths(artifacts.artifact_dir("generate", "d"), 2) == value
            case "manifest":
                assert artifacts.manifest_paths(artifacts.artifact_dir("sft", "d"), None) == value
            case "model":
                assert artifacts.model_dir("p") == value
            case _:
                assert getattr(pod, name) == value, name


def test_release_0_2_derives_the_same_status_from_todays_results():
    """Its operator after a rollback, and its stages that find an artifact of today on the volume."""
    spec = recorded_run()["spec"]
    by_dataset = {d["name"]: DatasetCounts(sft_rows=n + 2, pairs=n) for n, d in enumerate(spec["datasets"])}
    by_source = {
        "ada": SourceCounts(sft_rows=4, pairs=5, win_rate=0.75),
        "bob": SourceCounts(sft_rows=3, win_rate=0.25),
    }
    measured = {"truncated_share": 0.125, "mean_margin": 0.04, "held_out_pairs": 1}
    values = CONSTRUCTED.model_copy(update={"by_dataset": by_dataset, "by_source": by_source, **measured})
    constructed = StageResult(outcome=Outcome.SUCCEEDED, values=values)
    benchmarks = [b["name"] for b in spec["evaluation"]["benchmarks"]]
    spec["evaluation"]["gate"] = [{"benchmark": name, "minDelta": 3} for name in benchmarks]
    scores = {
        model: StageResult(outcome=Outcome.SUCCEEDED, values=Evaluated(scores=dict.fromkeys(benchmarks, score)))
        for model, score in (("base", 20.004), ("sft", 22.0), ("final", 21.5))
    }
    manifest = ArtifactManifest(schema_version=1, stage="construct", digest="0", files={}, values=values)
    found = run_release(RELEASES / "0.2.0", ["-c", STATUS_OF_0_2], {
        "spec": spec,
        "constructed": encode_result(constructed),
        "scores": {model: encode_result(result) for model, result in scores.items()},
        "manifest": json.loads(encode_manifest(manifest)),
    })  # fmt: skip
    parsed = FusionRunSpec.model_validate(spec)
    rows = []
    for model, result in scores.items():
        rows = with_scores(rows, parsed.evaluation, model, [result])
    summary = results.dataset_summary([constructed], parsed).model_dump(mode="json")
    assert len(gate_failures(parsed.evaluation, rows)) == len(benchmarks)
    assert found == {
        "dataset": summary,
        "of_manifest": summary,
        "results": [row.model_dump(mode="json", include=set(RESULT_OF_0_2)) for row in rows],
        "gate": gate_failures(parsed.evaluation, rows),
    }
