"""``lint``: the faults of tests/crd/broken that show without a cluster, their places, and the exit status."""

import io
import json
import re
from pathlib import Path

import pytest
import yaml

from fusionrun.cli import lint
from fusionrun.cli.documents import read
from fusionrun.cli.faults import faults
from support.broken import broken, valid_run
from support.mutated import mutated

ROOT = Path(__file__).parents[2]
SAMPLES = sorted((ROOT / "manifests" / "samples").glob("*.yaml"))
OTHER_WORDS = re.compile(
    r'Unsupported value: |unknown field|Required value|must be of type|^string$|metadata\.name must be|^"[a-z]+"$'
)
"""Texts of the API server for which lint has others."""

RUN = """\
apiVersion: fusionrun.dev/v1alpha1
kind: FusionRun
metadata: {name: base}
spec:
  target: {family: Llama3, chatTemplate: Own, model: {uri: "pvc://fusion-data/target"}}
  sources:
    - {name: ada, served: {model: {uri: "pvc://fusion-data/ada"}}}
    - name: bob
      served:
        model: {uri: "pvc://fusion-data/bob"}
        tensorParallelSise: 4
        resources:
          limits: {nvidia.com/gpu: 2}
  rewardModel:
    model: {uri: "pvc://fusion-data/reward"}
  datasets:
    - {name: math, uri: "pvc://fusion-data/math.jsonl", task: Mathematics, columns: {answer: answer}}
  construction: {rewardMargin: {min: 0.5, max: 20}}
  storage: {claimName: fusion-data}
"""


def found_in(tmp_path, text):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return [fault for document in read(str(path)) for fault in faults(document)]


def shown(found) -> str:
    return "\n".join(f"{f.field}: {f.value}: {f.rule}" for f in found)


@pytest.mark.parametrize("case", broken("admission"), ids=lambda b: b.name)
def test_what_the_api_server_refuses_is_found(tmp_path, case):
    found = shown(found_in(tmp_path, case.text))
    by_dots = re.sub(r"\[([a-z][^\]]*)\]", r".\1", found)
    assert found
    for fragment in case.message:
        assert OTHER_WORDS.search(fragment) or fragment.strip('"') in found or fragment in by_dots, found


@pytest.mark.parametrize("case", broken("plan"), ids=lambda b: b.name)
def test_what_the_operator_refuses_is_found(tmp_path, case):
    found = shown(found_in(tmp_path, case.text))
    for fragment in case.message:
        assert fragment in found


@pytest.mark.parametrize("case", broken("cluster", "secret", "resolve"), ids=lambda b: b.name)
def test_what_depends_on_a_cluster_is_no_fault(tmp_path, case):
    assert found_in(tmp_path, case.text) == []


def test_every_fault_of_a_run_is_found_at_once_with_its_line(tmp_path):
    found = found_in(tmp_path, RUN)
    assert [(fault.line, fault.field) for fault in found] == [
        (4, "spec"),
        (11, "spec.sources[1].served.tensorParallelSise"),
        (13, "spec.sources[bob].served.resources.limits[nvidia.com/gpu]"),
    ]
    assert "rewardModel.calibration is required" in found[0].rule
    assert "did you mean 'tensorParallelSize'?" in found[1].rule


@pytest.mark.parametrize(
    ("change", "line", "field", "rule"),
    [
        (("kind: FusionRun", "kind: FusionRuns"), 2, "kind", "must be FusionRun"),
        (("v1alpha1", "v1"), 1, "apiVersion", "must be fusionrun.dev/v1alpha1"),
        (("name: base", "labels: {}"), 3, "metadata.name", "is required"),
        (("name: base", "name: Base"), 3, "metadata.name", "lowercase"),
        (("spec:", "sepc:"), 1, "spec", "is required"),
        (("  storage:", "  storage: {claimName: other}\n  storage:"), 20, "storage", "occurs twice"),
        (("claimName: fusion-data", "claimName: 5"), 19, "spec.storage.claimName", "must be a string"),
        (("  storage: {claimName: fusion-data}", "  storage:"), 19, "spec.storage", "is required"),
        (("served: {model", "type: 7, served: {model"), 7, "spec.sources[0].type", "must be a string"),
        (
            ("  storage:", "  scheduling: {gpuBudget: 1}\n  storage:"),
            19,
            "spec.scheduling.gpuBudget",
            "stage serve/bob needs 2 GPUs at once",
        ),
    ],
)
def test_the_place_of_a_fault(tmp_path, change, line, field, rule):
    fixed = RUN.replace("tensorParallelSise: 4", "tensorParallelSize: 2").replace(
        "  datasets:",
        "    calibration: {scoreRange: {min: -1, max: 1}, pairs: [{prompt: p, better: b, worse: w}]}\n  datasets:",
    )
    assert found_in(tmp_path, fixed) == []
    moved = line + 1 if line > 15 else line
    (fault,) = [f for f in found_in(tmp_path, fixed.replace(*change)) if f.field == field]
    assert (fault.line, rule in fault.rule) == (moved, True), fault


@pytest.mark.parametrize("path", SAMPLES, ids=lambda p: p.stem)
def test_the_samples_have_no_fault(path, capsys):
    assert lint.main([str(path)]) == 0
    assert "no fault" in capsys.readouterr().out


def test_several_objects_lists_and_other_kinds(tmp_path, monkeypatch, capsys):
    other = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}
    listed = {"apiVersion": "v1", "kind": "List", "items": [valid_run(), other]}
    monkeypatch.setattr("sys.stdin", io.StringIO(f"---\n---\n{json.dumps(other)}\n---\n{yaml.safe_dump(listed)}"))
    assert lint.main(["-"]) == 0
    out, err = capsys.readouterr()
    assert out.count("no fault") == 1
    assert err.count("ConfigMap c: skipped") == 2


def test_the_exit_status_tells_faults_from_unreadable_files(tmp_path, capsys):
    path = tmp_path / "run.yaml"
    path.write_text(RUN)
    assert lint.main([str(path)]) == 1
    assert (
        f"{path}:13: spec.sources[bob].served.resources.limits[nvidia.com/gpu]: 2: must be" in capsys.readouterr().out
    )
    assert lint.main([str(tmp_path / "absent.yaml")]) == 2
    path.write_text("a: [")
    assert lint.main([str(path)]) == 2
    assert "is not YAML" in capsys.readouterr().err


def test_a_warning_is_a_line_on_the_standard_error_and_no_fault(tmp_path, capsys):
    run = yaml.safe_load((ROOT / "manifests" / "samples" / "one-gpu.yaml").read_text())
    run["spec"]["budget"] = {"maxCost": 5}
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(run, sort_keys=False))
    line = path.read_text().splitlines().index("    maxCost: 5") + 1
    settings = tmp_path / "settings.yaml"
    settings.write_text("images: {data: d, serve: s, train: t, reward: r, sandbox: x}\n")
    for arguments in ([], ["--settings", str(settings)]):
        assert lint.main([str(path), *arguments]) == 0
        out, err = capsys.readouterr()
        assert out.endswith("no fault\n")
        assert f"{path}:{line}: warning: spec.budget.maxCost: 5.0: has no effect" in err
        assert ("known only with --settings" in err) is (not arguments)
    settings.write_text(settings.read_text() + "accelerators: {prices: [{resource: nvidia.com/gpu, per_hour: 2}]}\n")
    assert lint.main([str(path), "--settings", str(settings)]) == 0
    assert "warning" not in capsys.readouterr().err


def test_the_policy_of_an_operator_is_checked(tmp_path, capsys):
    settings = tmp_path / "settings.yaml"
    settings.write_text("images: {data: d, serve: s, train: t, reward: r, sandbox: x}\npolicy: {hubs: []}\n")
    path = str(ROOT / "manifests" / "samples" / "one-gpu.yaml")
    assert lint.main([path, "--settings", str(settings)]) == 1
    assert "policy.hubs" in capsys.readouterr().out
    settings.write_text("polizy: {}")
    assert lint.main([path, "--settings", str(settings)]) == 2


def test_scalars_are_read_as_kubectl_reads_them(tmp_path):
    path = tmp_path / "scalars.yaml"
    path.write_text("[1e-5, 5.0, 2024-08-01, 12:30, 010, 0x10, -3, yes, .5, '1']")
    (document,) = read(str(path))
    assert document.value == [1e-5, 5.0, "2024-08-01", "12:30", 8, 16, -3, True, 0.5, "1"]


def test_a_spec_that_does_not_fit_into_its_config_map_is_found(tmp_path):
    run = valid_run()
    text = "é" * 1_800  # six bytes each
    pair = {"prompt": text, "better": text, "worse": text}
    run["spec"]["rewardModel"]["calibration"]["pairs"] = [pair] * 32
    (fault,) = found_in(tmp_path, json.dumps(run))
    assert fault.field == "spec"
    assert "since the run keeps it in ConfigMap base-spec: shorten spec.rewardModel" in fault.rule


def test_no_value_breaks_lint(tmp_path):
    """``tests/crd/test_lint.py`` compares the answers with those of the API server."""
    counts = [len(found_in(tmp_path, json.dumps(run))) for _, run in mutated(seed=2, count=60)]
    assert sum(map(bool, counts)) > 30
