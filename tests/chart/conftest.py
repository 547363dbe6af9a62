"""Fixtures that render the chart with Helm. Tests marked ``cluster`` use a real API server."""

import functools
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from support.chart import CHART, KUBE_VERSION, template
from support.programs import find, skip

ROOT = Path(__file__).parents[2]
REGISTRY = 'images.registry="registry.example"'


def is_file(value: str) -> bool:
    return value.endswith(".yaml")


class Helm:
    """Renders the chart with a registry, which is a required value. Caches the results."""

    def __init__(self) -> None:
        self.template = functools.cache(self._template)

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        version = (
            () if arguments[0] != "template" or "--kube-version" in arguments else ("--kube-version", KUBE_VERSION)
        )
        return subprocess.run([find("helm"), *arguments, *version], capture_output=True, text=True, check=check)

    def _render(self, *sets: str, namespace: str = "fusionrun-system") -> subprocess.CompletedProcess[str]:
        """Render with values, and with files of values that are given by their paths."""
        arguments = [word for value in (REGISTRY, *sets) for word in ("-f" if is_file(value) else "--set-json", value)]
        return self.run(*template(namespace, *arguments)[1:], check=False)

    def _template(self, *sets: str, namespace: str = "fusionrun-system") -> list[dict]:
        done = self._render(*sets, namespace=namespace)
        assert done.returncode == 0, done.stderr
        return [document for document in yaml.safe_load_all(done.stdout) if document]

    def rejects(self, *sets: str) -> str:
        done = self._render(*sets)
        assert done.returncode != 0, f"{sets} was accepted"
        return done.stderr


@pytest.fixture(scope="session")
def helm() -> Helm:
    find("helm")
    return Helm()


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """Return an environment in which scripts find helm and kubectl."""
    folders = [str(Path(find(tool)).parent) for tool in ("helm", "kubectl")]
    return {**os.environ, "PATH": os.pathsep.join([*folders, os.environ["PATH"]])}


@pytest.fixture(scope="session")
def promtool() -> str:
    return find("promtool")


@pytest.fixture(scope="session")
def chart() -> Path:
    return CHART


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def kubectl():
    program = find("kubectl")
    if not os.environ.get("KUBECONFIG"):
        skip("no KUBECONFIG")

    def run(*arguments: str, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run([program, *arguments], capture_output=True, text=True, check=check, input=stdin)

    return run
