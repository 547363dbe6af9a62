"""The annotations of the packaged chart are in step with the sample, the CRD and the changelog."""

import re
import shutil

import yaml
from helm_chart.artifact_hub import KINDS, annotate, changes

from fusionrun.api.spec import FusionRunSpec
from fusionrun.names import API_VERSION, KIND, PLURAL

DIGEST = "sha256:" + "0" * 64
REFERENCES = [f"registry.example:5000/ml/fusionrun-data:1@{DIGEST}", "vllm/vllm-openai:v1"]
CHANGELOG = """### Added

- One thing
  on two lines.
- Another: `code`.

### Security

- A third.
"""


def test_a_package_has_examples_images_and_changes(helm, chart, tmp_path):
    copy = shutil.copytree(chart, tmp_path / "fusionrun")
    annotate(copy, REFERENCES, CHANGELOG, "https://git.example/fusionrun")
    metadata = yaml.safe_load((copy / "Chart.yaml").read_text())
    found = {key: metadata["annotations"][f"artifacthub.io/{key}"] for key in ("crdsExamples", "images", "changes")}
    (example,) = yaml.safe_load(found["crdsExamples"])
    assert (example["apiVersion"], example["kind"]) == (API_VERSION, KIND)
    assert FusionRunSpec.model_validate(example["spec"], extra="forbid")
    names = ["fusionrun-data", "vllm-openai"]
    images = [{"name": name, "image": image} for name, image in zip(names, REFERENCES, strict=True)]
    assert yaml.safe_load(found["images"]) == images
    assert yaml.safe_load(found["changes"]) == [
        {"kind": "added", "description": "One thing on two lines."},
        {"kind": "added", "description": "Another: `code`."},
        {"kind": "security", "description": "A third."},
    ]
    assert metadata["home"] == "https://git.example/fusionrun"
    helm.run("package", str(copy), "--destination", str(tmp_path))


def test_the_changelog_has_only_sections_with_a_kind(root):
    """A release could not be packaged otherwise."""
    text = (root / "CHANGELOG.md").read_text()
    assert set(re.findall(r"^### (.*)$", text, re.MULTILINE)) <= set(KINDS)
    (unreleased,) = re.findall(r"^## \[Unreleased\]\n((?:(?!## ).*\n)*)", text, re.MULTILINE)
    assert len(changes(unreleased)) == len(re.findall(r"^- ", unreleased, re.MULTILINE)) > 0


def test_the_annotated_crd_is_that_of_the_chart(chart):
    metadata = yaml.safe_load((chart / "Chart.yaml").read_text())
    (annotated,) = yaml.safe_load(metadata["annotations"]["artifacthub.io/crds"])
    crd = yaml.safe_load((chart / "files" / "crd.yaml").read_text())
    assert annotated["name"] == crd["metadata"]["name"] == f"{PLURAL}.fusionrun.dev"
    assert annotated["version"] in {version["name"] for version in crd["spec"]["versions"]}
    assert annotated["kind"] == crd["spec"]["names"]["kind"]
