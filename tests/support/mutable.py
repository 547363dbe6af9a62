"""A change of every field below the top level that may change during a run."""

from typing import Any

from fusionrun.api.spec.mutable import mutable_paths

_BY_NAME: dict[str, Any] = {
    "resources": {"limits": {"memory": "64Gi"}},
    "replicas": 3,
    "parallelism": 5,
    "pod": {"nodeSelector": {"pool": "b"}},
    "tensorParallelSize": 2,
    "pipelineParallelSize": 2,
    "startupTimeoutSeconds": 60,
    "apiKeySecretRef": {"name": "fusionrun-key", "key": "key"},
    "prices": {"prompt": 1.0, "completion": 2.0},
    "quota": {"maxRequests": 9},
    "batchSize": 9,
    "maxBatchTokens": 99,
    "concurrency": 9,
    "maxConcurrency": 99,
    "stallSeconds": 99,
    "gradientCheckpointing": False,
    "offload": "Optimizer",
    "promote": {"resources": {"limits": {"memory": "8Gi"}}},
    "reportTo": ["TensorBoard"],
    "mlflow": {"trackingUri": "http://mlflow:5000"},
}

CHANGES = {path: _BY_NAME[path.rpartition(".")[2]] for path in mutable_paths() if "." in path}
"""Values by path, such as ``sources[].served.replicas``."""


def in_spec(path: str, spec: dict[str, Any]) -> str:
    """Return a path with the index of the first item that has the object of the field."""
    if not path.startswith("sources[]"):
        return path.replace("[]", "[0]")
    kind = path.split(".")[1]
    index = next((i for i, source in enumerate(spec["sources"]) if kind in source), 0)
    return path.replace("[]", f"[{index}]")
