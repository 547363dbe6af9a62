"""The files that ``make release-files`` writes, and the documented installations from them and from a registry."""

import hashlib
import json
import re
import subprocess
import sys
from importlib import import_module

import pytest
import yaml

from fusionrun import __version__
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.names import KIND

SOURCE = "https://git.example/fusionrun"
REGISTRY = "registry.example/ml"
OWN = ("operator", "data", "sandbox", "reward", "train")
DIGESTS = {name: "sha256:" + str(number) * 64 for number, name in enumerate(OWN)}
SERVER = re.compile(r"vllm/vllm-openai:v[0-9.]+(@sha256:[0-9a-f]{64})?")


@pytest.fixture(scope="module")
def dist(tmp_path_factory, root, environment):
    """Write the files of a release whose images have made-up digests."""
    folder = tmp_path_factory.mktemp("dist")
    metadata = folder / "images.json"
    metadata.write_text(json.dumps({name: {"containerimage.digest": d} for name, d in DIGESTS.items()}))
    command = [sys.executable, root / "hack/publish/files", f"{REGISTRY}/", metadata, folder]
    subprocess.run(command, check=True, env=environment | {"SOURCE": SOURCE})
    return folder


def images_of(text):
    """Return the image of the operator and those of the stages, by name."""
    documents = [d for d in yaml.safe_load_all(text) if d]
    (deployment,) = [d for d in documents if d["kind"] == "Deployment"]
    (settings,) = [d["data"]["settings.yaml"] for d in documents if d["kind"] == "ConfigMap"]
    images = {k: v for k, v in yaml.safe_load(settings)["images"].items() if not k.startswith("pull_")}
    (operator,) = deployment["spec"]["template"]["spec"]["containers"]
    return images | {"operator": operator["image"]}


def rendered(helm, chart, *sets):
    arguments = [word for value in sets for word in ("--set", value)]
    return images_of(helm.run("template", "fusionrun", str(chart), *arguments).stdout)


def test_the_chart_of_a_release_has_the_registry_and_the_digests_of_its_images(helm, dist):
    images = rendered(helm, dist / f"fusionrun-{__version__}.tgz")
    assert SERVER.fullmatch(images.pop("serve"))
    assert images == {name: f"{REGISTRY}/fusionrun-{name}@{digest}" for name, digest in DIGESTS.items()}


def test_a_package_shows_examples_images_and_changes(helm, dist):
    metadata = yaml.safe_load(helm.run("show", "chart", str(dist / f"fusionrun-{__version__}.tgz")).stdout)
    assert (metadata["home"], metadata["sources"]) == (SOURCE, [SOURCE])
    found = {n.partition("/")[2]: yaml.safe_load(text) for n, text in metadata["annotations"].items()}
    (example,) = found["crdsExamples"]
    assert example["kind"] == found["crds"][0]["kind"] == KIND
    assert FusionRunSpec.model_validate(example["spec"], extra="forbid")
    assert [image["image"] for image in found["images"]] == (dist / "images.txt").read_text().split()
    assert [image["name"] for image in found["images"]] == [*(f"fusionrun-{name}" for name in OWN), "vllm-openai"]


def test_every_item_of_the_changelog_is_a_change_of_the_package(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "hack/publish"))
    hub = import_module("artifact_hub")
    text = "### Added\n\n- One thing\n  on two lines.\n- Another.\n\n### Security\n\n- A third.\n"
    assert [tuple(c.values()) for c in hub.changes(text)] == [
        ("added", "One thing on two lines."),
        ("added", "Another."),
        ("security", "A third."),
    ]
    changelog = (root / "CHANGELOG.md").read_text()
    (unreleased,) = re.findall(r"^## \[Unreleased\]\n((?:(?!## ).*\n)*)", changelog, re.MULTILINE)
    assert len(hub.changes(unreleased)) == len(re.findall(r"^- ", unreleased, re.MULTILINE))
    assert set(re.findall(r"^### (.*)$", changelog, re.MULTILINE)) <= set(hub.KINDS)


def test_one_value_sets_the_mirror_of_all_images_of_a_release(helm, dist):
    images = rendered(helm, dist / f"fusionrun-{__version__}.tgz", "images.registry=mirror.example")
    listed = [line.partition("@")[0].removeprefix(f"{REGISTRY}/") for line in (dist / "images.txt").read_text().split()]
    copied = {f"mirror.example/{name.rpartition(':')[0]}" for name in listed}
    assert {re.split(r"@|:v?[0-9.]+$", image)[0] for image in images.values()} == copied


def test_install_yaml_has_the_namespace_and_no_key(dist):
    text = (dist / "install.yaml").read_text()
    documents = [d for d in yaml.safe_load_all(text) if d]
    assert (documents[0]["kind"], documents[0]["metadata"]["name"]) == ("Namespace", "fusionrun-system")
    assert {d["metadata"].get("namespace", "fusionrun-system") for d in documents} == {"fusionrun-system"}
    assert {"CustomResourceDefinition", "Deployment", "ClusterRole", "NetworkPolicy"} <= {d["kind"] for d in documents}
    assert "Secret" not in {d["kind"] for d in documents}
    assert images_of(text)["data"] == f"{REGISTRY}/fusionrun-data@{DIGESTS['data']}"


def test_the_documented_kustomization_has_install_yaml_as_its_base(dist, root, environment):
    operations = (root / "docs/operations.md").read_text()
    (text,) = re.findall(r"```yaml\n(apiVersion: kustomize.*?)```", operations, re.DOTALL)
    (dist / "kustomization.yaml").write_text(text)
    (dist / "server-key").write_text("k" * 32)
    command = ["kubectl", "kustomize", str(dist)]
    done = subprocess.run(command, check=True, env=environment, capture_output=True, text=True)
    documents = list(yaml.safe_load_all(done.stdout))
    (deployment,) = [d for d in documents if d["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"]["memory"] == "512Mi"
    (secret,) = [d for d in documents if d["kind"] == "Secret"]
    assert secret["metadata"]["name"] in [v["secret"]["secretName"] for v in pod["volumes"] if "secret" in v]
    assert len(documents) == 1 + len([d for d in yaml.safe_load_all((dist / "install.yaml").read_text()) if d])


def test_the_checksums_are_those_of_the_files(dist):
    lines = [line.split("  ") for line in (dist / "SHA256SUMS").read_text().splitlines()]
    assert {name for _, name in lines} == {
        f"fusionrun-{__version__}.tgz", "install.yaml", "crd.yaml", "images.txt", "notes.md",
    }  # fmt: skip
    for checksum, name in lines:
        assert hashlib.sha256((dist / name).read_bytes()).hexdigest() == checksum


@pytest.mark.parametrize(
    "document", ["README.md", "docs/getting-started.md", "docs/operations.md", "helm/fusionrun/README.md"]
)
def test_the_documented_install_uses_the_images_of_the_documented_build(helm, chart, root, document):
    (command,) = re.findall(
        r"helm upgrade --install (fusionrun helm/fusionrun (?:.*\\\n)?.*)", (root / document).read_text()
    )
    images = rendered(helm, chart, *re.findall(r"--set (\S+)", command))
    build = (root / "images/README.md").read_text().split("## Build the CUDA images")[1]
    assert "make release-images" in build
    copied = [f"REGISTRY/{name}" for name in re.findall(r"imagetools create --tag \$REGISTRY/(\S+)", build)]
    assert set(images.values()) == {*(f"REGISTRY/fusionrun-{name}:{__version__}" for name in OWN), *copied}
