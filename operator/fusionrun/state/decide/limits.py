"""The limits of ``spec.scheduling``, and what the stages of a run use of them."""

from dataclasses import dataclass
from math import inf

from fusionrun.plan.schedule import Limits
from fusionrun.plan.stages import Stage
from fusionrun.state.decide.context import Context, Outcomes
from fusionrun.state.report.stage_status import ACTIVE


@dataclass(frozen=True)
class Use:
    """What the stages of a run use now."""

    active: dict[str, float]
    """GPUs of each active stage."""
    leaving: float
    """GPUs of pods that are terminating, or whose stage is not active."""
    servers: tuple[str, ...]
    """Names of the active servers."""

    @property
    def gpus(self) -> float:
        """GPUs in use."""
        return sum(self.active.values()) + self.leaving


def limits_of(context: Context) -> Limits:
    """Return the limits; infinite where the spec has none."""
    scheduling = context.pinned.spec.scheduling
    budget, servers = scheduling.gpu_budget, scheduling.max_servers
    return Limits(inf if budget is None else budget, inf if servers is None else servers)


def is_limited(context: Context, stage: Stage) -> bool:
    """Return whether a limit applies to a stage."""
    scheduling = context.pinned.spec.scheduling
    if stage.traits.is_server and scheduling.max_servers is not None:
        return True
    return scheduling.gpu_budget is not None and context.gpus(stage) > 0


def use_of(context: Context, outcomes: Outcomes) -> Use:
    """Return what the stages use, as decided so far."""
    active = [s for s in context.pinned.plan.stages if outcomes.state(s.name) in ACTIVE]
    gpus = {s.name: _gpus_in_use(context, s) for s in active}
    held = context.gpu_time.stages.items()
    leaving = sum(time.leaving if name in gpus else time.gpus for name, time in held)
    return Use(gpus, leaving, tuple(s.name for s in active if s.traits.is_server))


def _gpus_in_use(context: Context, stage: Stage) -> float:
    """Return the GPUs of an active stage. Its workload may have more replicas than the spec has now, or than it had."""
    workload = context.observed_stage(stage).latest
    replicas = workload.replicas if workload and (workload.is_server or stage.shares_shards) else stage.pods
    return context.gpus(stage) * max(replicas, stage.pods) / stage.pods
