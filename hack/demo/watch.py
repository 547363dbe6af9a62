"""Watch a FusionRun with kubectl, for the demo and the end-to-end tests."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any


def watch(namespace: str, name: str) -> Iterator[dict[str, Any]]:
    """Yield the object at each change, until it is finished.

    ``kubectl get NAME --watch`` watches from any version, and has missed a change that came at that moment. With a
    selector, kubectl lists first and watches from the version of the list.
    """
    selector = f"metadata.name={name}"
    command = ["kubectl", "-n", namespace, "get", "fusionruns", "--field-selector", selector, "--watch", "-o", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        text = ""
        try:
            for line in process.stdout or ():
                text += line
                if line.rstrip("\n") != "}":
                    continue
                run = json.loads(text)
                text = ""
                yield run
                if condition(run, "Finished") == "True":
                    return
        finally:  # also if the caller stops early
            process.terminate()


def condition(run: dict[str, Any], kind: str, part: str = "status") -> str:
    """Return a condition's status, or another part of it."""
    found = [c for c in run.get("status", {}).get("conditions", []) if c["type"] == kind]
    return str(found[0].get(part, "")) if found else ""
