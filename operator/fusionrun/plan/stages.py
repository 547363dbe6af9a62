"""The stages of a plan, and the plan: plain values."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

from fusionrun.api.artifacts import parameters_digest
from fusionrun.api.contract import Contract
from fusionrun.api.spec.endpoints import ModelEndpoint
from fusionrun.api.spec.evaluation import Grader
from fusionrun.api.spec.resources import Resources
from fusionrun.api.spec.sources import Source
from fusionrun.api.spec.target import Family, MeasuredModel
from fusionrun.api.spec.training import Backend
from fusionrun.api.stage import EvaluatedModel, PlannedStage, PreflightSubject, Reference, StageKind
from fusionrun.errors import PlanError
from fusionrun.plan.gpus import gpu_limits
from fusionrun.plan.kinds import KindTraits, stage_traits

EVALUATION_PREFIX = "eval-"
"""Prefix of the name of an evaluated model. The name of a source must not start with it."""
JUDGE_PREFIX = "judge-"
"""Prefix of the name of a served judge. The name of a source must not start with it in a run that serves a judge."""


class PromptSet(StrEnum):
    """A set of prompts that ``prepare`` writes."""

    PROMPTS = "prompts"
    BENCHMARKS = "benchmarks"


@dataclass(frozen=True)
class FetchedModel:
    """A model that is downloaded, by the first role in which the spec names it."""

    role: str
    """``target``, ``reward``, ``judge``, the name of a source, or ``eval-`` and that of a model of ``evaluateOnly``."""


@dataclass(frozen=True)
class ReferenceSolutions:
    """The reference solutions of the prompts' data sets."""


@dataclass(frozen=True)
class FamilyBenchmarks:
    """The benchmarks with the prompts of a family, in a run that evaluates models of several families."""

    family: Family | None

    @property
    def value(self) -> str:
        """Its name."""
        return f"{PromptSet.BENCHMARKS}-{self.family.lower() if self.family else 'others'}"


Evaluated = EvaluatedModel | MeasuredModel
"""A model that the benchmarks measure: one of a run that trains, or one of ``evaluateOnly``."""


def model_name(model: Evaluated) -> str:
    """Return the name of an evaluated model, for tasks and for the status."""
    return model.name if isinstance(model, MeasuredModel) else model.value


def family_of(model: Evaluated) -> Family | None:
    """Return the family of a model of ``evaluateOnly``; None without one, and for the models of a run that trains."""
    return model.family if isinstance(model, MeasuredModel) else None


@dataclass(frozen=True)
class JudgeServer:
    """The judge that the run serves while it judges the responses of an evaluated model."""

    evaluated: Evaluated


StageSubject = (
    Source
    | FetchedModel
    | PromptSet
    | FamilyBenchmarks
    | EvaluatedModel
    | MeasuredModel
    | JudgeServer
    | ReferenceSolutions
    | PreflightSubject
)


def subject_name(subject: StageSubject) -> str:
    """Return the name of a subject, for the names of stages, for tasks and for model servers."""
    match subject:
        case Source():
            return subject.name
        case FetchedModel():
            return subject.role
        case PromptSet() | FamilyBenchmarks() | PreflightSubject():
            return subject.value
        case EvaluatedModel() | MeasuredModel():
            return f"{EVALUATION_PREFIX}{model_name(subject)}"
        case JudgeServer():
            return f"{JUDGE_PREFIX}{model_name(subject.evaluated)}"
        case ReferenceSolutions():
            return "solutions"


def stage_name(kind: StageKind, subject: StageSubject | None = None, grader: Grader | None = None) -> str:
    """Return the name of a stage, such as ``verify/qwen.coding``. No code parses a name."""
    if subject is None:
        return kind.value
    if kind in (StageKind.JUDGE, StageKind.EVALUATE) and isinstance(subject, Evaluated):
        return f"{kind}/{model_name(subject)}"
    name = f"{kind}/{subject_name(subject)}"
    return name if grader is None or isinstance(subject, ReferenceSolutions) else f"{name}.{grader.lower()}"


def digest_data(value: Contract | None) -> Any:
    """Return the fields of a part of the spec as they enter a digest."""
    return None if value is None else value.model_dump(mode="json", by_alias=True, exclude_none=True)


@dataclass(frozen=True)
class Stage:
    """One node of the plan."""

    kind: StageKind
    subject: StageSubject | None = None
    """The source, model, data set or benchmark set that it processes; None if a run has one stage of the kind."""
    grader: Grader | None = None
    """Grader of a ``verify`` stage."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """The part of the spec that changes its output: enters the digest."""
    pins: tuple[int, ...] = ()
    """Indexes of the references that it reads: their fingerprints enter the digest."""
    inputs: tuple[str, ...] = ()
    """Stages whose artifacts it reads: their digests enter the digest."""
    after: tuple[str, ...] = ()
    """Other stages that must end first. Every stage waits for ``resolve`` as well."""
    server: str | None = None
    """The ``serve`` stage that must be Ready while this one runs."""
    endpoint: ModelEndpoint | None = None
    """The external endpoint that it calls."""
    backend: Backend | None = None
    """Kind of the object that runs its pods, for a stage that trains."""
    remote_code: bool = False
    """Whether its pods run Python code that comes with a model (``trustRemoteCode``)."""
    protects: tuple[str, ...] = ()
    """Later stages for which it checks the conditions. It does not run if none of them has to."""
    shards: int | None = None
    parallelism: int = 1
    """Maximum number of pods that make its shards at the same time."""
    shares_shards: bool = False
    """Whether its pods take shards in turn until none is left. Otherwise each shard has a pod of its own."""
    resources: Resources | None = None
    """Resources of its pods; None for those of its kind (``KindTraits.resources``)."""
    devices: dict[str, int] = field(default_factory=dict)
    """Extended resources of one pod, such as ``nvidia.com/gpu``."""
    pods: int = 1
    """Number of pods that hold the devices at the same time."""

    @cached_property
    def name(self) -> str:
        """Its name, unique in the plan."""
        return stage_name(self.kind, self.subject, self.grader)

    @cached_property
    def traits(self) -> KindTraits:
        """How its pods run."""
        check = self.subject if isinstance(self.subject, PreflightSubject) else None
        return stage_traits(self.kind, self.grader, self.endpoint, self.backend, check)

    @property
    def subject_name(self) -> str:
        """The name of its subject."""
        return subject_name(self.subject) if self.subject else ""

    @property
    def source(self) -> Source:
        """The source that it processes."""
        if not isinstance(self.subject, Source):
            raise PlanError(f"{self.name}: not a stage of a source")
        return self.subject

    @property
    def evaluated_model(self) -> Evaluated:
        """The model that it evaluates."""
        if not isinstance(self.subject, Evaluated):
            raise PlanError(f"{self.name}: not a stage of an evaluated model")
        return self.subject

    @property
    def needs(self) -> tuple[str, ...]:
        """Stages that must succeed before it starts."""
        first = () if self.kind is StageKind.RESOLVE else (stage_name(StageKind.RESOLVE),)
        return (*first, *self.inputs, *self.after)

    @property
    def completions(self) -> int:
        """Number of pods that must succeed, each with a completion index of its own if the stage has shards."""
        if self.shards is None:
            return 1
        return min(self.parallelism, self.shards) if self.shares_shards else self.shards

    @property
    def gpus_per_pod(self) -> int:
        """Whole GPUs of one of its pods, which torch sees."""
        return sum(gpu_limits(self.devices).values())

    @property
    def gpus(self) -> int:
        """Whole GPUs of all its pods together."""
        return self.gpus_per_pod * self.pods


@dataclass(frozen=True)
class Plan:
    """The stages of a run, each after those that it needs, and the references that they pin."""

    stages: tuple[Stage, ...]
    references: tuple[Reference, ...]

    def __getitem__(self, name: str) -> Stage:
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise PlanError(f"no stage {name!r}")

    def client_of(self, server: Stage) -> Stage:
        """Return the stage that uses a server."""
        for stage in self.stages:
            if stage.server == server.name:
                return stage
        raise PlanError(f"no stage uses {server.name!r}")

    def only(self, artifacts: Collection[str]) -> "Plan":
        """Return the plan without the stages that are not in ``artifacts``, and without their servers.

        ``artifacts`` lists the stages of the plan when the run was accepted: stages of a newer release are left out.
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
        """Return the parts of each stage with an artifact from which ``resolve`` computes its digest."""
        return [
            PlannedStage(
                name=s.name,
                kind=s.kind,
                parameters_digest=parameters_digest(s.kind, s.traits.version, s.parameters),
                pins=list(s.pins),
                inputs=list(s.inputs),
                shards=s.shards,
            )
            for s in self.stages
            if s.traits.has_artifact
        ]
