"""``plan``: what it prints for the samples, and which stages it takes from earlier runs."""

import json
from pathlib import Path

import pytest
import yaml

from fusionrun import names
from fusionrun.cli import plan
from fusionrun.cli.faults import read_spec
from fusionrun.cli.kubectl import KubectlError
from fusionrun.cli.outline import parameters_in
from fusionrun.cli.reuse import earlier_runs, reuse
from fusionrun.plan.build import build_plan
from support.golden import GOLDEN, compare
from support.runs import make_run
from support.world import World

SAMPLES = Path(__file__).parents[2] / "manifests" / "samples"


@pytest.mark.parametrize("name", ["one-gpu", "llama-3-1-8b", "evaluate-only"])
def test_the_plan_of_a_sample(name, capsys):
    assert plan.main([str(SAMPLES / f"{name}.yaml")]) == 0
    compare(GOLDEN / "cli" / f"plan-{name}.txt", capsys.readouterr().out)


def test_the_plan_as_json(capsys):
    assert plan.main([str(SAMPLES / "llama-3-1-8b.yaml"), "-o", "json"]) == 0
    made = json.loads(capsys.readouterr().out)
    stages = {stage["name"]: stage for stage in made["stages"]}
    assert stages["serve/qwen"] | {"needs": []} == {
        "name": "serve/qwen", "kind": "serve", "object": "Deployment",
        "pods": 2, "atOnce": 2, "gpusPerPod": 4, "needs": [],
    }  # fmt: skip
    assert stages["generate/qwen"]["atOnce"] == 8
    assert stages["generate/qwen"]["amount"]["unit"] == "responses"
    assert stages["sft"]["amount"]["isComplete"]
    assert made["estimate"]["gpuHours"] > 0
    assert {"kind": "Secret", "name": "judge", "fields": ["spec.evaluation.judge.endpoint.apiKeySecretRef"],
            "keys": ["key"]} in made["needs"]  # fmt: skip


def test_a_budget_below_the_estimate_is_named(tmp_path, capsys):
    run = yaml.safe_load((SAMPLES / "llama-3-1-8b.yaml").read_text())
    run["spec"]["budget"]["maxGpuHours"] = 10
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(run))
    assert plan.main([str(path)]) == 0
    assert "Lower than the estimate: budget.maxGpuHours" in capsys.readouterr().out


def test_a_manifest_with_faults_has_no_plan(tmp_path, capsys):
    run = yaml.safe_load((SAMPLES / "tiny.yaml").read_text())
    run["spec"]["recipe"] = "none"
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(run))
    assert plan.main([str(path)]) == 1
    assert "spec.recipe: 'none': supported values" in capsys.readouterr().out
    path.write_text("kind: Secret")
    assert plan.main([str(path)]) == 2


@pytest.mark.parametrize(
    ("uri", "parameters"),
    [
        ("hf://Qwen/Qwen2.5-72B-Instruct", 72_000_000_000),
        ("hf://google/gemma-2-27b-it", 27_000_000_000),
        ("hf://HuggingFaceTB/SmolLM2-135M", 135_000_000),
        ("hf://Qwen/Qwen3-30B-A3B", 30_000_000_000),
        ("hf://mistralai/Mixtral-8x7B-v0.1", None),
        ("hf://mistralai/Mistral-Large-Instruct-2407", None),
        ("pvc://data/70b/models/target/", None),
    ],
)
def test_the_parameters_in_the_name_of_a_model(uri, parameters):
    assert parameters_in(uri) == parameters


def ended() -> World:
    world = World(make_run())
    world.run_to_end()
    return world


def objects_of(world: World) -> tuple[list, list]:
    run = world.run | {"metadata": world.run["metadata"] | {"creationTimestamp": "2026-01-01T00:00:00Z"}}
    return [run], [manifest for ref, manifest in world.objects.items() if ref.kind == "ConfigMap"]


@pytest.fixture(scope="module")
def before() -> World:
    return ended()


def reused(world: World, **changes):
    spec = read_spec(make_run(**changes)["spec"] | {"training": changes.get("training", {"nodes": 2})})
    return reuse(spec, build_plan(spec), earlier_runs(*objects_of(world)))


def test_the_same_run_again_makes_only_its_reports(before):
    found = reused(before)
    assert (found.unknown, found.unpinned) == ((), ())
    assert set(found.found.values()) == {"tiny"}
    assert found.to_run == {"resolve", "construct", "evaluate/base", "evaluate/sft", "evaluate/final", "compare"}


def test_another_beta_trains_again_from_the_same_data(before):
    found = reused(before, training={"nodes": 2, "dpo": {"beta": 1}})
    assert {"sft", "construct", "generate/ada"} <= found.found.keys()
    assert "dpo" not in found.found
    assert {"dpo", "promote", "evaluate/final"} <= found.to_run
    assert not {"sft", "serve/ada", "serve/eval-base"} & found.to_run


def test_what_depends_on_a_reference_that_no_run_has_read_is_unknown(before):
    spec = make_run()["spec"]
    spec["sources"][1]["served"]["model"]["uri"] = "pvc://fusion-data/models/other"
    spec = read_spec(spec)
    found = reuse(spec, build_plan(spec), earlier_runs(*objects_of(before)))
    assert found.unpinned == ("sources[bob].served.model",)
    assert {"generate/bob", "construct", "dpo"} <= {*found.unknown} <= found.to_run
    assert "generate/ada" in found.found


def test_a_run_with_another_claim_or_without_its_config_maps_tells_nothing(before):
    runs, config_maps = objects_of(before)
    assert earlier_runs(runs, []) == []
    spec = json.loads(json.dumps(make_run()["spec"]).replace("fusion-data", "other"))
    spec = read_spec(spec)
    assert reuse(spec, build_plan(spec), earlier_runs(runs, config_maps)).found == {}


def test_a_cluster_is_asked_only_with_a_context(monkeypatch, tmp_path, before, capsys):
    runs, config_maps = objects_of(before)
    asked = []

    def read(kubectl, *words):
        asked.append((kubectl.context, *words))
        return {"items": runs if words[1].startswith("fusionruns") else config_maps}

    monkeypatch.setattr("fusionrun.cli.kubectl.Kubectl.read", read)
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(make_run()))
    assert plan.main([str(path)]) == 0
    assert asked == []
    assert plan.main([str(path), "--context", "lab"]) == 0
    out = capsys.readouterr().out
    assert [words[0] for words in asked] == ["lab", "lab"]
    assert f"-n lab -l {names.LABEL_MANAGED_BY}={names.MANAGED_BY}" in " ".join(asked[1])
    assert "of tiny" in out
    assert "The stage resolve decides" in out


def test_a_cluster_that_does_not_answer_is_reported(monkeypatch, capsys):
    def read(_kubectl, *_words):
        raise KubectlError("no such context")

    monkeypatch.setattr("fusionrun.cli.kubectl.Kubectl.read", read)
    assert plan.main([str(SAMPLES / "tiny.yaml"), "--context", "absent"]) == 2
    assert "no such context" in capsys.readouterr().err
