"""docker-bake.hcl and the release workflow, read by buildx and actionlint. Nothing is built."""

import json
import os
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.integrations
ROOT = Path(__file__).parents[2]


def bake(**variables: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in ("REGISTRY", "VERSION")} | variables
    command = ["buildx", "bake", "--print"]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True)


def test_buildx_builds_each_image_with_its_dockerfile_tag_and_attestations():
    done = bake(REGISTRY="registry.example/ml", VERSION="1.2.3", PYTHON_IMAGE="python:0")
    assert done.returncode == 0, done.stderr
    targets = json.loads(done.stdout)["target"]
    assert sorted(targets) == ["data", "operator", "reward", "sandbox", "train"]
    for name, target in targets.items():
        assert (ROOT / target["dockerfile"]).is_file()
        assert target["tags"] == [f"registry.example/ml/fusionrun-{name}:1.2.3"]
        assert target["platforms"] == ["linux/amd64"]
        assert {a["type"] for a in target["attest"]} == {"provenance", "sbom"}
        assert target["args"]["BASE_IMAGE"].startswith("python:3.13" if name == "sandbox" else "python:0")


@pytest.mark.parametrize("missing", ["REGISTRY", "VERSION"])
def test_buildx_requires_the_registry_and_the_version(missing):
    variables = {"REGISTRY": "registry.example", "VERSION": "1"} | {missing: ""}
    done = bake(**variables)
    assert done.returncode != 0
    assert f"{missing} is empty" in done.stderr


def test_actionlint_accepts_the_release_workflow():
    command = ["actionlint", "-shellcheck=", ROOT / ".github/workflows/release.yaml"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
