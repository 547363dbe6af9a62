"""The example repository for GitOps is complete: each folder is rendered, and its objects are accepted."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.names import ANNOTATION_RETRY, KIND
from fusionrun.plan.checks import check_spec
from fusionrun.plan.defaults import fill
from support.chart import template
from support.programs import find

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "manifests" / "gitops" / "example"
FOLDERS = sorted(path.parent for path in EXAMPLE.glob("*/kustomization.yaml"))


def load(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


FLUX, ARGO_CD = load(EXAMPLE / "flux.yaml"), load(EXAMPLE / "argo-cd.yaml")


def render(folder: Path) -> list[dict[str, Any]]:
    done = subprocess.run([find("kubectl"), "kustomize", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def of_kind(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [o for o in objects if o["kind"] == kind]


def test_every_file_is_used():
    used = {path for folder in FOLDERS for path in (folder / name for name in _resources(folder))}
    files = {p for p in EXAMPLE.rglob("*.yaml") if p.name != "kustomization.yaml"}
    assert files - used == {EXAMPLE / "flux.yaml", EXAMPLE / "argo-cd.yaml"}
    paths = {o["spec"]["path"].removeprefix("./") for o in of_kind(FLUX, "Kustomization")}
    assert paths == {folder.name for folder in FOLDERS}
    assert {o["spec"]["source"]["path"] for o in ARGO_CD} <= {*paths, "helm/fusionrun"}


def _resources(folder: Path) -> list[str]:
    found: list[str] = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    return found


def test_kustomizations_wait_for_each_other_in_order():
    kustomizations = of_kind(FLUX, "Kustomization")
    known: list[str] = []
    for each in kustomizations:
        assert [d["name"] for d in each["spec"].get("dependsOn", [])] == known[-1:]
        known.append(each["metadata"]["name"])
    waves = [o["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"] for o in ARGO_CD]
    assert waves == sorted(waves)


def test_the_runs_are_valid_and_are_not_pruned():
    rendered = render(EXAMPLE / "runs")
    runs = of_kind(rendered, KIND)
    assert runs
    for run in runs:
        spec = fill(FusionRunSpec.model_validate(run["spec"], extra="forbid"))
        assert check_spec(spec) == []
        assert spec.storage.claim_name in {o["metadata"]["name"] for o in of_kind(rendered, "PersistentVolumeClaim")}
    for each in rendered:
        annotations = each["metadata"]["annotations"]
        assert annotations["kustomize.toolkit.fluxcd.io/prune"] == "disabled"
        assert annotations["argocd.argoproj.io/sync-options"] == "Prune=false,Delete=false"
    (namespace,) = {o["metadata"]["namespace"] for o in rendered}
    assert namespace in {o["metadata"]["name"] for o in render(EXAMPLE / "namespaces")}


@pytest.mark.parametrize("tool", ["Flux", "Argo CD"])
def test_the_values_of_the_chart_are_accepted(tool):
    if tool == "Flux":
        (release,) = of_kind(render(EXAMPLE / "operator"), "HelmRelease")
        values, namespace = release["spec"]["values"], release["metadata"]["namespace"]
    else:
        (application,) = (o for o in ARGO_CD if "helm" in o["spec"]["source"])
        values = application["spec"]["source"]["helm"]["valuesObject"]
        namespace = application["spec"]["destination"]["namespace"]
    command = template(namespace, "-f", "-", helm=find("helm"))
    done = subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    objects = [o for o in yaml.safe_load_all(done.stdout) if o]
    assert bool(of_kind(objects, "Secret")) is (tool == "Flux"), "Argo CD cannot keep the key that the chart makes"


def test_the_health_expressions_name_the_annotation_of_a_retry():
    (expressions,) = of_kind(FLUX, "Kustomization")[-1]["spec"]["healthCheckExprs"]
    assert ANNOTATION_RETRY in expressions["inProgress"]
    assert (expressions["apiVersion"], expressions["kind"]) == ("fusionrun.dev/v1alpha1", KIND)
