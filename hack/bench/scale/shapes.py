"""The runs of a measurement: the shape of a sample, and the simulated behaviour of its stages."""

import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

sys.path.append(str(Path(__file__).parents[1] / "rehearsal"))
import assumed_times
from gpu_nodes import GPUS_PER_NODE
from results import simulated_result

from fusionrun.api.results.result import encode_result
from fusionrun.api.results.values import Preflighted
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.stage import StageKind
from fusionrun.names import API_VERSION, KIND
from fusionrun.plan.build import build_plan
from fusionrun.plan.defaults import fill
from fusionrun.plan.stages import Plan, Stage

SAMPLES = Path(__file__).parents[3] / "manifests" / "samples"
NAMESPACE = "fusionrun-bench"
LABEL = "bench.fusionrun.dev/scale"
"""Label and taint of the simulated nodes."""
SCHEDULING = {
    "nodeSelector": {LABEL: "true"},
    "tolerations": [{"key": LABEL, "operator": "Exists", "effect": "NoSchedule"}],
}
"""The part of a run that lets its pods run on the simulated nodes."""
MINUTE = 60
LEAST_NODES = 4
SPARE_NODES = 1.5
"""Nodes per node that the GPU budgets require, so that a server with 8 GPUs finds a free node."""


@dataclass(frozen=True)
class Shape:
    """A sample, and the durations of its pods.

    Attributes
    ----------
    sample
        File with a FusionRun.
    server_seconds
        From a server's start to Ready.
    work_seconds
        From a pod's start to its end, for kinds without a value in ``seconds``.
    seconds
        The same by kind of stage.
    nodes
        Number of nodes; by default as many as the GPU budgets of all runs require, and a reserve.
    changes
        Fields of the sample's spec to replace, by the name of their part.
    """

    sample: Path
    server_seconds: float
    work_seconds: float
    seconds: dict[StageKind, float] = field(default_factory=dict)
    nodes: int | None = None
    changes: dict[str, Any] = field(default_factory=dict)

    def script(self, stage: Stage, plan: Plan, spec: FusionRunSpec) -> dict[str, Any]:
        """Return the script of the simulated kubelets for the pods of a stage."""
        if stage.kind is StageKind.SERVE:
            return {"server": True, "start_seconds": self.server_seconds}
        seconds = self.seconds.get(stage.kind, self.work_seconds)
        return {"work_seconds": seconds, "message": encode_result(simulated_result(stage, plan, spec, seconds))}


@dataclass(frozen=True)
class RehearsedShape(Shape):
    """The sample with the times of ``hack/bench/rehearsal``, in which a minute takes a second."""

    def script(self, stage: Stage, plan: Plan, spec: FusionRunSpec) -> dict[str, Any]:
        times = assumed_times.Times()
        if stage.kind is StageKind.SERVE:
            return {"server": True, "start_seconds": times.load(stage) / MINUTE}
        seconds = times.work(stage) / MINUTE
        result = simulated_result(stage, plan, spec, seconds)
        if stage.kind is StageKind.RESOLVE:
            values = result.values.model_copy(update=assumed_times.model_sizes(plan))
            result = result.model_copy(update={"values": values})
        elif stage.kind is StageKind.PREFLIGHT:  # no step of training is measured there
            result = result.model_copy(update={"values": Preflighted()})
        return {"work_seconds": seconds, "message": encode_result(result)}


SHAPES = {
    "evaluate": Shape(Path(__file__).parent / "evaluate.yaml", server_seconds=1, work_seconds=2),
    "tiny": Shape(SAMPLES / "tiny.yaml", server_seconds=1, work_seconds=2),
    "llama": Shape(
        SAMPLES / "llama-3-1-8b.yaml",
        server_seconds=3,
        work_seconds=2,
        seconds={StageKind.VERIFY: 1, StageKind.SCORE: 1, StageKind.SFT: 10, StageKind.DPO: 5},
    ),
    "rehearsal": RehearsedShape(
        SAMPLES / "llama-3-1-8b.yaml", 0, 0, nodes=2, changes={"generation": {"shards": 8, "parallelism": 8}}
    ),
}


class Workload:
    """``count`` runs of a shape. ``batch`` identifies the measurement."""

    def __init__(self, shape: str, count: int, batch: str) -> None:
        self.shape = shape
        self.names = [f"{shape}-{batch}-{number:03d}" for number in range(count)]
        self._spec = yaml.safe_load(SHAPES[shape].sample.read_text())["spec"]
        for part, fields in SHAPES[shape].changes.items():
            self._spec[part] |= fields
        scheduling = self._spec.setdefault("scheduling", {})
        scheduling.pop("sandboxRuntimeClassName", None)  # a RuntimeClass may select other nodes
        # Tiny has 4 servers at once. A limit of 3 is a wait that no other engine knows.
        scheduling.pop("maxServers", None)
        scheduling |= SCHEDULING
        self._filled = fill(FusionRunSpec.model_validate(self._spec))
        self.plan: Plan = build_plan(self._filled)

    def manifests(self) -> list[dict[str, Any]]:
        """Return the runs to create."""
        return [self.manifest(name) for name in self.names]

    def manifest(self, name: str) -> dict[str, Any]:
        """Return a run. It publishes to a place of its own: one check of a place is enough for all runs."""
        spec = dict(self._spec)
        if publish := spec.get("publish"):
            spec["publish"] = publish | {"uri": f"{publish['uri']}/{name}"}
        return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}

    def script(self) -> dict[str, dict[str, Any]]:
        """Return the script of the simulated kubelets: the durations and results of pods by stage."""
        return {s.name: SHAPES[self.shape].script(s, self.plan, self._filled) for s in self.plan.stages}

    def needs(self) -> dict[str, tuple[str, ...]]:
        """Return by stage the stages that must end, or be ready, before it starts.

        Stages that may also wait for GPUs are left out.
        """
        return {
            stage.name: (*stage.needs, *([stage.server] if stage.server else []))
            for stage in self.plan.stages
            if stage.needs and not stage.gpus
        }

    @property
    def stages(self) -> int:
        """Number of stages of all runs."""
        return len(self.plan.stages) * len(self.names)

    @property
    def nodes(self) -> int:
        """Number of nodes that the runs need."""
        if nodes := SHAPES[self.shape].nodes:
            return nodes
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
