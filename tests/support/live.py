"""The cluster of the end-to-end tests: kubectl, a namespace, and the tiny run with few prompts."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from transitions import creates

from fusionrun.settings import Images
from watch import condition, watch

__all__ = [
    "CACHE",
    "OPERATOR_NAMESPACE",
    "REPOSITORY",
    "Cluster",
    "audit_log",
    "built_images",
    "condition",
    "creates",
    "small_run",
    "wait_until_established",
]
REPOSITORY = Path(__file__).parents[2]
CACHE = Path(os.environ.get("FUSIONRUN_CACHE", Path.home() / ".cache" / "fusionrun"))
OPERATOR_NAMESPACE = "fusionrun-system"


@dataclass(frozen=True)
class Cluster:
    """kubectl in one namespace."""

    namespace: str

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """Run kubectl and return its output."""
        done = subprocess.run(
            ["kubectl", "-n", self.namespace, *arguments], input=stdin, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr}")
        return done.stdout if check else done.stdout + done.stderr

    def get(self, *arguments: str) -> dict[str, Any]:
        """Return an object or a list of objects."""
        found: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return found

    def watch(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield a FusionRun at each change, until it is finished."""
        return watch(self.namespace, name)


def wait_until_established(crd: dict[str, Any]) -> None:
    """Wait until a new CRD is served.

    Its conditions are null at first, and ``kubectl wait --for=condition`` fails for null. They are set together with
    the accepted names, so wait for these first.
    """
    for what in (f"jsonpath={{.status.acceptedNames.kind}}={crd['spec']['names']['kind']}", "condition=Established"):
        arguments = ["kubectl", "wait", f"--for={what}", f"crd/{crd['metadata']['name']}", "--timeout=60s"]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def built_images() -> Images:
    """Return the image references that hack/images/build has written."""
    found = json.loads((CACHE / "images" / "refs.json").read_text())
    return Images(**{name: found[name] for name in ("data", "serve", "train", "reward", "sandbox")})


def audit_log() -> Path:
    """Return the path of the local cluster's audit log."""
    return CACHE / "cluster" / "log" / "audit.log"


def small_run(name: str, prompts: int, measured: int, tree: Path = REPOSITORY) -> dict[str, Any]:
    """Return the tiny sample of a checkout, for the current cluster, with another name and fewer prompts."""
    sample = subprocess.run([tree / "hack/demo/sample", "tiny"], capture_output=True, text=True, check=True)
    run: dict[str, Any] = yaml.safe_load(sample.stdout)
    run["metadata"]["name"] = name
    for dataset in run["spec"]["datasets"]:
        dataset["maxPrompts"] = prompts
    for benchmark in run["spec"]["evaluation"]["benchmarks"]:
        benchmark["maxPrompts"] = measured
    return run
