"""The pod templates of objects of any kind, and their containers."""

from collections.abc import Iterable
from typing import Any

from fusionrun.api.contract import Manifest


def pod_templates(manifest: Manifest) -> list[dict[str, Any]]:
    """Return the pod templates of an object; none if it has no pods."""
    spec = manifest.get("spec") or {}
    match manifest["kind"]:
        case "PyTorchJob":
            return [replica["template"] for replica in spec["pytorchReplicaSpecs"].values()]
        case "TrainingRuntime":
            return [job["template"]["spec"]["template"] for job in spec["template"]["spec"]["replicatedJobs"]]
        case "Job" | "Deployment":
            return [spec["template"]]
        case _:
            return []


def containers(manifests: Iterable[Manifest]) -> list[dict[str, Any]]:
    """Return the containers in the pod templates of objects, without init containers."""
    found = (c for m in manifests for template in pod_templates(m) for c in template["spec"]["containers"])
    return list({id(c): c for c in found}.values())  # master and workers share one template
