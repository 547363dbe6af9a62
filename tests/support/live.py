"""A cluster to test on: kubectl, the namespace, and the tiny run made small."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]
OPERATOR_NAMESPACE = "fusionrun-system"


@dataclass(frozen=True)
class Cluster:
    """kubectl in one namespace."""

    namespace: str

    def kubectl(self, *words: str, stdin: str | None = None, check: bool = True) -> str:
        """Run kubectl and return what it printed."""
        done = subprocess.run(
            ["kubectl", "-n", self.namespace, *words], input=stdin, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(words)}: {done.stderr}")
        return done.stdout if check else done.stdout + done.stderr

    def get(self, *words: str) -> dict[str, Any]:
        """Return an object or a list of objects."""
        found: dict[str, Any] = json.loads(self.kubectl("get", *words, "-o", "json"))
        return found

    def watch(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield a FusionRun at each change, until it is finished."""
        command = ["kubectl", "-n", self.namespace, "get", "fusionrun", name, "--watch", "-o", "json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            text = ""
            for line in process.stdout or ():
                text += line
                if line.rstrip("\n") != "}":
                    continue
                run = json.loads(text)
                text = ""
                yield run
                if condition(run, "Finished") == "True":
                    process.terminate()
                    return


def condition(run: dict[str, Any], kind: str, part: str = "status") -> str:
    """Return a condition's status, or another part of it."""
    found = [c for c in run.get("status", {}).get("conditions", []) if c["type"] == kind]
    return str(found[0].get(part, "")) if found else ""


def small_run(name: str, prompts: int, measured: int) -> dict[str, Any]:
    """Return the tiny sample with few prompts, under another name."""
    run: dict[str, Any] = yaml.safe_load((REPOSITORY / "manifests/samples/tiny.yaml").read_text())
    run["metadata"]["name"] = name
    for dataset in run["spec"]["datasets"]:
        dataset["maxPrompts"] = prompts
    for benchmark in run["spec"]["evaluation"]["benchmarks"]:
        benchmark["maxPrompts"] = measured
    return run
