"""The input and the output of the decision on one stage: a context, and the outcomes of the stages before it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from fusionrun.api.contract import Manifest
from fusionrun.api.stage import StageKind
from fusionrun.api.status.conditions import Reason
from fusionrun.api.status.estimate import Estimate
from fusionrun.api.status.results import BenchmarkResult, DatasetSummary
from fusionrun.api.status.stages import StageState, StageStatus
from fusionrun.plan.gpus import gpus_of
from fusionrun.plan.pinned import PinnedPlan
from fusionrun.plan.pod_size import NodeGpus
from fusionrun.plan.pods import gpu_cost_per_hour
from fusionrun.plan.stages import Stage
from fusionrun.settings import Settings
from fusionrun.state.decide.prerequisites import Missing
from fusionrun.state.observe.failures import Failure
from fusionrun.state.observe.live_objects import Refusal
from fusionrun.state.observe.object_ref import ObjectRef
from fusionrun.state.observe.observed import Observed, ObservedStage
from fusionrun.state.observe.pending_pods import PendingPods
from fusionrun.state.observe.run_cache import RunCache
from fusionrun.state.report.events import Event
from fusionrun.state.report.gpu_time import GpuTime
from fusionrun.state.report.stage_status import DONE


@dataclass(frozen=True)
class Context:
    """What the decisions on all stages of a run depend on."""

    pinned: PinnedPlan
    observed: Observed
    nodes: tuple[NodeGpus, ...]
    """Nodes with GPUs, until ``resolve`` is done."""
    previous: dict[str, StageStatus]
    """Status of each stage so far."""
    needed: frozenset[str] | None
    """Stages that have to run; None before ``resolve`` has finished."""
    complete: Mapping[str, str]
    """Stages whose artifact an earlier or another run has made; with a message, which may be empty."""
    held_back: Mapping[str, str]
    """Stages that must not start now because of what other runs make, and why (``decide.sharing``)."""
    missing: tuple[Missing, ...]
    """Prerequisites that do not exist."""
    refused: dict[ObjectRef, Refusal]
    """Objects that could not be created in this reconcile."""
    pods_listed: frozenset[ObjectRef]
    """Workloads whose pods were listed in this reconcile."""
    settings: Settings
    now: datetime
    gpu_time: GpuTime
    """GPU time and cost up to now, and the GPUs that pods hold."""
    estimate: Estimate | None = None
    """What the run is expected to need; None before ``resolve`` has succeeded, or if nothing is known."""
    work: Mapping[str, int] = field(default_factory=dict)
    """Seconds of stages of finished runs, by the hash of their work."""
    in_turn: str | None = None
    """The stage that may start although a limit of ``spec.scheduling`` applies to it: it is its turn."""
    trusts_clock: bool = True
    """Whether ``now`` is close to the time of the last reconcile. If not, no deadline ends a stage."""
    cache: RunCache = field(default_factory=RunCache, compare=False, repr=False)

    def observed_stage(self, stage: Stage) -> ObservedStage:
        """Return the objects of a stage."""
        return self.observed.stage(stage.name)

    def first_attempt(self, stage: Stage) -> int:
        """Return the first attempt of a stage since the run was last retried; a server and its client share it."""
        pair = (stage.name, self.pinned.plan.client_of(stage).name if stage.traits.is_server else stage.server)
        return max(self.observed.stage(name).first_attempt for name in pair if name)

    @property
    def not_allowed(self) -> str:
        """Why no stage of the run may start until its spec is corrected; empty if it may."""
        return next((m.message for m in self.missing if m.reason is Reason.NOT_ALLOWED), "")

    def gpus(self, stage: Stage) -> float:
        """Return the GPUs of all pods of a stage together; a part of a GPU counts as its share."""
        return gpus_of(stage.devices, self.settings.accelerators) * stage.pods

    def gpu_cost_per_hour(self, stage: Stage) -> float:
        """Return what the devices of all pods of a stage cost in an hour."""
        return gpu_cost_per_hour(self.pinned.spec, self.settings, stage)

    def is_done(self, stage: Stage) -> bool:
        """Return whether a stage was done before this decision."""
        old = self.previous.get(stage.name)
        return old is not None and old.state in DONE

    def failure(self, stage: Stage) -> Failure | None:
        """Return why a check failed before this decision, while the run waits for its other checks; None otherwise.

        Any other failed stage ends the run in the same decision, and a retry resets the state.
        """
        old = self.previous.get(stage.name)
        if stage.kind is not StageKind.PREFLIGHT or old is None or old.state is not StageState.FAILED:
            return None
        return Failure(Reason.STAGE_FAILED, old.message or "")  # its own reason stays in its status


@dataclass(frozen=True)
class StageOutcome:
    """The decision on one stage."""

    status: StageStatus
    create: tuple[Manifest, ...] = ()
    delete: tuple[ObjectRef, ...] = ()
    failure: Failure | None = None
    """Why the stage, and with it the run, failed."""
    queued: bool = False
    """Whether the stage could start, but for the limits of ``spec.scheduling``."""
    pending: PendingPods | None = None
    """Pods of the stage that do not run."""
    list_pods: tuple[ObjectRef, ...] = ()
    requeue_seconds: float | None = None
    events: tuple[Event, ...] = ()
    """Events beyond those that a changed status causes."""
    dataset: DatasetSummary | None = None
    """The data set, from the result of ``construct``."""
    benchmarks: tuple[BenchmarkResult, ...] | None = None
    """The scores so far, with those from the result of this stage."""


@dataclass(frozen=True)
class Outcomes:
    """The outcomes of the stages decided on so far, in plan order."""

    stages: dict[str, StageOutcome] = field(default_factory=dict)
    benchmarks: tuple[BenchmarkResult, ...] = ()
    dataset: DatasetSummary | None = None

    def add(self, outcome: StageOutcome) -> "Outcomes":
        """Return the outcomes with that of the next stage."""
        return replace(
            self,
            stages=self.stages | {outcome.status.name: outcome},
            benchmarks=self.benchmarks if outcome.benchmarks is None else outcome.benchmarks,
            dataset=outcome.dataset or self.dataset,
        )

    def state(self, stage: str) -> StageState:
        """Return the new state of a stage."""
        return self.stages[stage].status.state

    @property
    def statuses(self) -> list[StageStatus]:
        """The new status of each stage."""
        return [outcome.status for outcome in self.stages.values()]

    @property
    def failures(self) -> list[tuple[str, Failure]]:
        """The failed stages and why they failed, in plan order."""
        return [(name, outcome.failure) for name, outcome in self.stages.items() if outcome.failure]
