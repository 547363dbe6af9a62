"""A small FusionRun, which each test changes."""

import copy
import re
from typing import Any

from fusionrun.api.status.run import NOT_OBSERVED

UID = "11111111-2222-3333-4444-555555555555"
CLAIM = "fusion-data"
KEPT = {"name": "kept", "type": "Dataset"}
"""A source whose responses are in the data sets."""

_SPEC: dict[str, Any] = {
    "target": {"family": "Llama3", "model": {"uri": f"pvc://{CLAIM}/models/target"}},
    "sources": [
        {"name": "ada", "served": {"model": {"uri": f"pvc://{CLAIM}/models/ada"}}},
        {"name": "bob", "served": {"model": {"uri": f"pvc://{CLAIM}/models/bob"}}},
    ],
    "rewardModel": {
        "model": {"uri": f"pvc://{CLAIM}/models/reward"},
        "calibration": {
            "pairs": [{"prompt": "p", "better": "b", "worse": "w"}],
            "scoreRange": {"min": -10.0, "max": 10.0},
        },
    },
    "datasets": [
        {
            "name": "math",
            "uri": f"pvc://{CLAIM}/prompts/math.jsonl",
            "task": "Mathematics",
            "columns": {"prompt": "prompt", "answer": "answer"},
        },
        {
            "name": "code",
            "uri": f"pvc://{CLAIM}/prompts/code.jsonl",
            "task": "Coding",
            "columns": {"prompt": "prompt", "tests": "tests"},
        },
    ],
    "generation": {"shards": 2},
    "construction": {"rewardMargin": {"min": 0.1, "max": 5.0}},
    "training": {"nodes": 2},
    "evaluation": {
        "benchmarks": [
            {
                "name": "math-test",
                "uri": f"pvc://{CLAIM}/benchmarks/math.jsonl",
                "grader": "Mathematics",
                "columns": {"answer": "answer"},
            },
            {
                "name": "code-test",
                "uri": f"pvc://{CLAIM}/benchmarks/code.jsonl",
                "grader": "Coding",
                "columns": {"tests": "tests"},
            },
        ]
    },
    "storage": {"claimName": CLAIM},
}


def called_reward(**more: Any) -> dict[str, Any]:
    """Make a reward model behind an endpoint; ``more`` are fields of the endpoint."""
    reward = copy.deepcopy(_SPEC["rewardModel"])
    del reward["model"]
    return reward | {"endpoint": {"url": "https://judge", "model": "judge-8b", **more}}


def external_source(**more: Any) -> dict[str, Any]:
    """Make a source behind an endpoint, ``far``; ``more`` are fields of the endpoint."""
    return {"name": "far", "type": "Endpoint", "endpoint": {"url": "https://far/v1", "model": "big", **more}}


def external_judge(**more: Any) -> dict[str, Any]:
    """Make a judge behind an endpoint; ``more`` are fields of the endpoint."""
    return {"endpoint": {"url": "https://judge/v1", "model": "judge-70b", **more}}


def served_judge(**more: Any) -> dict[str, Any]:
    """Make a judge that the run serves; ``more`` are fields of its server."""
    return {"served": {"model": {"uri": f"pvc://{CLAIM}/models/judge"}, **more}}


def rated(**more: Any) -> dict[str, Any]:
    """Make a benchmark that a judge rates by a rubric; ``more`` are fields of the benchmark."""
    benchmark = {"name": "rated", "uri": f"pvc://{CLAIM}/benchmarks/rated.jsonl", "grader": "Rubric"}
    return benchmark | {"rubric": "Rate the answer to {prompt} as [[5]]: {response}"} | more


def measured(name: str, **more: Any) -> dict[str, Any]:
    """Make a model of ``evaluateOnly``; ``more`` are its other fields."""
    return {"name": name, "model": {"uri": f"pvc://{CLAIM}/models/{name}"}} | more


def evaluation_only(*models: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Make the spec of a run that only evaluates models; ``changes`` replace top-level fields."""
    kept = {name: make_spec()[name] for name in ("evaluation", "storage")}
    return {"evaluateOnly": {"models": list(models)}, **kept, **changes}


def make_spec(**changes: Any) -> dict[str, Any]:
    """Make a spec; ``changes`` replace top-level fields."""
    return copy.deepcopy(_SPEC) | changes


def make_run(name: str = "tiny", **changes: Any) -> dict[str, Any]:
    """Make a new FusionRun as the API server returns it, with the default of the status.

    It has no preflight by default: its checks would be two more stages to end before every server.
    """
    return {
        "apiVersion": "fusionrun.dev/v1alpha1",
        "kind": "FusionRun",
        "metadata": {"name": name, "namespace": "lab", "uid": UID, "generation": 1},
        "spec": make_spec(**{"preflight": {"enabled": False}} | changes),
        "status": {"observedGeneration": NOT_OBSERVED},
    }


def change(fields: dict[str, Any], path: str, value: object) -> None:
    """Set a field such as ``sources[0].sampling.topP``; None removes it, the index after the last one appends."""
    *parents, last = [int(part) if part.isdigit() else part for part in re.findall(r"\w+", path)]
    parent: Any = fields
    for part in parents:
        parent = parent.setdefault(part, {}) if isinstance(parent, dict) else parent[part]
    if value is None:
        del parent[last]
    elif isinstance(parent, list) and last == len(parent):
        parent.append(copy.deepcopy(value))
    else:
        parent[last] = copy.deepcopy(value)


def changed(spec: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """Return a copy of a spec with one changed field."""
    spec = copy.deepcopy(spec)
    change(spec, path, value)
    return spec
