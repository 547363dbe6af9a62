"""The values, their schema and their descriptions; and a file of values for each feature."""

import json
import shutil

import pytest
import yaml
from helm_chart.values import properties, read_values, undescribed

from support.chart import settings_of
from support.pod_security import violations

NAMESPACE = "default"
"""An existing namespace, for the API server's dry run."""


def read_schema(chart):
    return json.loads((chart / "values.schema.json").read_text())


def variants(chart):
    folder = chart.parents[1] / "tests" / "chart" / "values"
    return sorted(str(path) for path in folder.glob("*.yaml"))


def test_every_value_has_a_comment_and_every_property_a_description(chart):
    values, schema = read_values((chart / "values.yaml").read_text()), read_schema(chart)
    listed = set(properties(schema))
    assert [value.path for value in values if value.path in listed and not value.comment] == []
    assert list(undescribed(schema)) == []
    not_values = {("enabled",), ("global",)}
    assert listed - not_values == {value.path for value in values} & listed, "a property that is no value"


def test_a_parent_chart_may_have_a_condition_and_global_values(helm, chart, tmp_path):
    parent = tmp_path / "parent"
    shutil.copytree(chart, parent / "charts" / "fusionrun")
    version = yaml.safe_load((chart / "Chart.yaml").read_text())["version"]
    dependency = {"name": "fusionrun", "version": version, "condition": "fusionrun.enabled"}
    metadata = {"apiVersion": "v2", "name": "parent", "version": "1.0.0", "dependencies": [dependency]}
    (parent / "Chart.yaml").write_text(yaml.safe_dump(metadata))

    def kinds(enabled):
        sets = f"fusionrun.enabled={enabled},fusionrun.images.registry=x,global.imageRegistry=y"
        documents = yaml.safe_load_all(helm.run("template", "x", str(parent), "--set", sets).stdout)
        return {document["kind"] for document in documents if document}

    assert kinds("false") == set()
    assert {"Deployment", "CustomResourceDefinition"} <= kinds("true")


def test_an_older_cluster_is_refused(helm, chart):
    done = helm.run("template", "x", str(chart), "--set", "images.registry=x", "--kube-version", "1.28.9", check=False)
    assert "requires kubeVersion: >=1.29.0-0" in done.stderr


def test_each_feature_can_be_rendered_and_is_read_by_the_operator(helm, chart, tmp_path):
    files = variants(chart)
    assert len(files) > 10
    for file in files:
        documents = helm.template(file)
        names = [(d["kind"], d["metadata"].get("namespace"), d["metadata"]["name"]) for d in documents]
        assert len(set(names)) == len(names), file
        assert settings_of(documents, tmp_path), file
        (pod,) = (d["spec"]["template"]["spec"] for d in documents if d["kind"] == "Deployment")
        assert violations(pod) == [], file


@pytest.mark.cluster
def test_the_api_server_accepts_each_feature(helm, chart, kubectl):
    """Kinds of the Prometheus operator are sent only if the cluster has them, and the CRD in another test."""
    groups = kubectl("api-versions").stdout.splitlines()
    kinds = set()
    for file in variants(chart):
        documents = helm.template(file, "crds.enabled=false", namespace=NAMESPACE)
        served = [d for d in documents if d["apiVersion"] in groups]
        kinds |= {d["kind"] for d in served}
        arguments = ("--server-side", "--force-conflicts", "--dry-run=server", "-n", NAMESPACE, "-f", "-")
        done = kubectl("apply", *arguments, stdin=yaml.safe_dump_all(served), check=False)
        assert done.returncode == 0, f"{file}: {done.stderr}"
        assert done.stdout.count("serverside-applied") == len(served), file
    assert {"Deployment", "NetworkPolicy", "PodDisruptionBudget", "Role", "ClusterRole"} <= kinds


@pytest.mark.cluster
def test_the_notes_say_what_is_left_to_do(helm, chart):
    def notes(*sets):
        arguments = ["--dry-run=server", "--namespace", NAMESPACE, "--set", "images.registry=x,crds.enabled=false"]
        done = helm.run("install", "notes-of-fusionrun", str(chart), *arguments, *sets, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.partition("NOTES:")[2]

    text = notes()
    assert "kubectl get fr -w" in text
    assert "does not install the CRD" in text
    assert "GPUS:.status.allocatable" in text
    text = notes("--set", "cpu.enabled=true,images.pullSecrets={mirror}")
    assert "GPUS:" not in text
    assert "image pull Secrets mirror in the namespace of each FusionRun" in text
