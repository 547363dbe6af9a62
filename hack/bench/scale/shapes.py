"""The runs of a measurement: the shape of a sample, and the simulated behaviour of its stages."""

import copy
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from results import simulated_result

from fusionrun.api.result import encode_result
from fusionrun.api.spec import FusionRunSpec
from fusionrun.api.stage import StageKind
from fusionrun.names import API_VERSION, KIND
from fusionrun.plan.build import build_plan
from fusionrun.plan.defaults import fill
from fusionrun.plan.stages import Plan, Stage

SAMPLES = Path(__file__).parents[3] / "manifests" / "samples"
LABEL = "bench.fusionrun.dev/scale"
"""Label of all objects of a measurement, and taint of its nodes."""
BATCH_LABEL = "bench.fusionrun.dev/batch"
GPUS_PER_NODE = 8
LEAST_NODES = 4
SPARE_NODES = 1.5
"""Nodes per node that the GPU budgets require, so that a server with 8 GPUs finds a free node."""
TOLERATIONS = [
    {"key": LABEL, "operator": "Exists", "effect": "NoSchedule"},
    # Kept runs stay on their nodes when no stand-in renews the leases.
    *(
        {"key": f"node.kubernetes.io/{taint}", "operator": "Exists", "effect": "NoExecute"}
        for taint in ("not-ready", "unreachable")
    ),
]


@dataclass(frozen=True)
class Shape:
    """A sample, and the durations of its pods.

    Attributes
    ----------
    sample
        File in ``manifests/samples``.
    server_seconds
        From a server's start to Ready.
    work_seconds
        From a pod's start to its end, for kinds without a value in ``seconds``.
    seconds
        The same by kind of stage.
    """

    sample: str
    server_seconds: float
    work_seconds: float
    seconds: dict[StageKind, float] = field(default_factory=dict)

    def script(self, stage: Stage) -> dict[str, Any]:
        """Return the script of the stand-in kubelet for the pods of a stage."""
        if stage.kind is StageKind.SERVE:
            return {"server": True, "start_seconds": self.server_seconds}
        return {"work_seconds": self.seconds.get(stage.kind, self.work_seconds)}


SHAPES = {
    "tiny": Shape("tiny.yaml", server_seconds=1, work_seconds=2),
    "llama": Shape(
        "llama-3-1-8b.yaml",
        server_seconds=3,
        work_seconds=2,
        seconds={StageKind.VERIFY: 1, StageKind.SCORE: 1, StageKind.SFT: 10, StageKind.DPO: 5},
    ),
}


class Workload:
    """``count`` runs of a shape.

    Parameters
    ----------
    name
        Name of the shape.
    count
        Number of runs.
    batch
        Identifies the measurement.
    changes
        Fields of the spec that replace the sample's.
    """

    def __init__(self, name: str, count: int, batch: str, changes: dict[str, Any] | None = None) -> None:
        self.shape = SHAPES[name]
        self.batch = batch
        self.names = [f"{name}-{batch}-{number:03d}" for number in range(count)]
        self._spec = self._scheduled(changes or {})
        self._filled = fill(FusionRunSpec.model_validate(self._spec))
        self.plan: Plan = build_plan(self._filled)

    def _scheduled(self, changes: dict[str, Any]) -> dict[str, Any]:
        """Return the spec of the sample for the simulated nodes, without a RuntimeClass, which selects other nodes."""
        spec: dict[str, Any] = yaml.safe_load((SAMPLES / self.shape.sample).read_text())["spec"] | changes
        scheduling = spec.setdefault("scheduling", {})
        scheduling.pop("sandboxRuntimeClassName", None)
        return spec | {"scheduling": scheduling | {"nodeSelector": {LABEL: "true"}, "tolerations": TOLERATIONS}}

    def manifests(self) -> list[dict[str, Any]]:
        """Return the runs to create."""
        labels = {LABEL: "true", BATCH_LABEL: self.batch}
        return [
            {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "metadata": {"name": name, "labels": labels},
                "spec": copy.deepcopy(self._spec),
            }
            for name in self.names
        ]

    def script(self) -> str:
        """Return the script of the stand-in: the durations and results of pods by stage."""
        return json.dumps(
            {
                stage.name: self.shape.script(stage)
                | {"message": encode_result(simulated_result(stage, self.plan, self._filled, self.shape.script(stage)))}
                for stage in self.plan.stages
            }
        )

    def needs(self) -> dict[str, tuple[str, ...]]:
        """Return by stage the stages that must end, or be ready, before it starts.

        Stages that may also wait for ``maxServers`` or GPUs are left out.
        """
        return {
            stage.name: (*stage.needs, *([stage.server] if stage.server else []))
            for stage in self.plan.stages
            if stage.needs and stage.kind is not StageKind.SERVE and not stage.gpus
        }

    @property
    def stages(self) -> int:
        """Number of stages of all runs."""
        return len(self.plan.stages) * len(self.names)

    @property
    def nodes(self) -> int:
        """Number of nodes that the runs need."""
        budget = self._filled.scheduling.gpu_budget or 0
        return max(LEAST_NODES, math.ceil(SPARE_NODES * len(self.names) * budget / GPUS_PER_NODE))

    @property
    def secrets(self) -> list[tuple[str, str]]:
        """Name and key of each Secret that the runs refer to."""
        hub = self._filled.hub
        return [(hub.token_secret_ref.name, hub.token_secret_ref.key)] if hub and hub.token_secret_ref else []

    @property
    def claim(self) -> str:
        """Name of the claim that the runs refer to."""
        return self._filled.storage.claim_name
