"""What the files of the repository say about a release: its version, its images and their base images."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
BAKE = REPOSITORY / "docker-bake.hcl"
CHART = REPOSITORY / "helm" / "fusionrun"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def version() -> str:
    """Return the version of the chart and of the images."""
    return _only(r'^appVersion: "(.*)"$', CHART / "Chart.yaml")


def oldest_kubernetes() -> str:
    """Return the oldest version of Kubernetes that the chart allows."""
    return _only(r'^kubeVersion: ">=([0-9.]+)-0"$', CHART / "Chart.yaml")


def images() -> dict[str, str]:
    """Return the base image of each image of docker-bake.hcl, by name."""
    text = BAKE.read_text()
    defaults = dict(re.findall(r'^variable "(\w+_IMAGE)" {\n  default = "(.*)"$', text, re.MULTILINE))
    return {name: defaults[base] for name, base in re.findall(r'{ name = "(\w+)", base = (\w+) },', text)}


def server_image() -> tuple[str, str]:
    """Return vLLM's image with its tag, and its digest, from the values of the chart."""
    text = _only(r"^  serve: {(.*)}$", CHART / "values.yaml")
    fields = {name: value.strip('"') for name, value in re.findall(r"(\w+): ([^,]*)", text)}
    return f"{fields['repository']}:{fields['tag']}", fields["digest"]


def missing_digests() -> list[str]:
    """Return a line for each image from elsewhere that has no valid digest."""
    bases = [f"docker-bake.hcl: {base}" for base in sorted(set(images().values()))]
    server, digest = server_image()
    references = [*bases, f"helm/fusionrun/values.yaml, images.serve: {server}@{digest}"]
    wrong = [r for r in references if not DIGEST.fullmatch(r.partition("@")[2])]
    return [f"{reference.rstrip('@')} has no digest (sha256: and 64 hexadecimal digits)" for reference in wrong]


def changes(release: str) -> str:
    """Return the section of a release in the changelog; empty if there is none."""
    text = (REPOSITORY / "CHANGELOG.md").read_text()
    found = re.search(rf"^## \[{re.escape(release)}\].*\n((?:(?!## ).*\n)*)", text, re.MULTILINE)
    return found[1].strip() if found else ""


def _only(pattern: str, file: Path) -> str:
    (found,) = re.findall(pattern, file.read_text(), re.MULTILINE)
    return str(found)
