"""A stage of a plan and a plan: data, and nothing else."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

from fusionrun.api.artifacts import parameters_digest
from fusionrun.api.stage import PlannedStage, Reference, StageKind
from fusionrun.errors import PlanError

VERSIONS: dict[StageKind, int] = dict.fromkeys(StageKind, 1) | {StageKind.VERIFY: 2, StageKind.CONSTRUCT: 2}
"""Version of each kind of stage; raised when its output changes for the same input, so that old artifacts no
longer count."""

REPORTING = frozenset({StageKind.CONSTRUCT, StageKind.EVALUATE})
"""Kinds that run even when their artifact is complete: the pod answers at once from the manifest, and the run's
status gets its numbers."""


@dataclass(frozen=True)
class Stage:
    """One node of the plan."""

    name: str
    kind: StageKind
    parameters: dict[str, Any] = field(default_factory=dict)
    """What of the resolved spec changes its output: enters the digest."""
    pins: tuple[int, ...] = ()
    """Indexes of the references that it reads."""
    inputs: tuple[str, ...] = ()
    """Stages whose artifact it reads."""
    after: tuple[str, ...] = ()
    """Stages that must have ended before, beyond its inputs, and ``resolve``, which all but itself wait for."""
    server: str | None = None
    """The ``serve`` stage that must be Ready while this one runs."""
    shards: int | None = None
    parallelism: int = 1
    gpus: int = 0
    """GPUs that its pods hold together."""
    pods: int = 1
    """Pods that hold them, the same number each."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Stages that must have succeeded before this one starts."""
        first = () if self.kind is StageKind.RESOLVE else ("resolve",)
        return (*first, *self.inputs, *self.after)

    @property
    def gpus_per_pod(self) -> int:
        """GPUs that one of its pods holds."""
        return self.gpus // self.pods

    @property
    def has_artifact(self) -> bool:
        """Whether it leaves an artifact that a later run can reuse."""
        return self.kind not in (StageKind.RESOLVE, StageKind.SERVE)


@dataclass(frozen=True)
class Plan:
    """A run's stages in an order in which each comes after those it needs, and the references they pin."""

    stages: tuple[Stage, ...]
    references: tuple[Reference, ...]

    def __getitem__(self, name: str) -> Stage:
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise PlanError(f"no stage {name!r}")

    def only(self, artifacts: Collection[str]) -> "Plan":
        """Return the plan without the stages whose artifact is not named, and without the servers that only they use.

        ``artifacts`` are those of the plan at the run's acceptance: a stage that a newer release has added is left out.
        """
        kept = {s.name for s in self.stages if s.name in artifacts or s.kind is StageKind.RESOLVE}
        kept |= {s.server for s in self.stages if s.server and s.name in kept}
        stages = (
            replace(s, inputs=tuple(n for n in s.inputs if n in kept), after=tuple(n for n in s.after if n in kept))
            for s in self.stages
            if s.name in kept
        )
        return replace(self, stages=tuple(stages))

    def planned(self) -> list[PlannedStage]:
        """Return as much of each stage with an artifact as ``resolve`` needs for its digest."""
        return [
            PlannedStage(
                name=s.name,
                kind=s.kind,
                parameters_digest=parameters_digest(s.kind, VERSIONS[s.kind], s.parameters),
                pins=list(s.pins),
                inputs=list(s.inputs),
                shards=s.shards,
            )
            for s in self.stages
            if s.has_artifact
        ]
