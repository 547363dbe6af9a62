"""The GPU time and the cost of a run: the sum over all its pods, each from its binding to a node to its end.

A pod that holds GPUs is recorded in the status of its stage with its UID, so that it is counted once: when it has ended
its time is added to the total of the stage, also if its object is gone. Times of a pod come from its object. The clock
of the operator is used only for the pods that still hold GPUs, whose time is computed anew in each reconcile, and for
the end of a pod that is gone without one.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from fusionrun.api.records import MICRO
from fusionrun.api.status.run import FusionRunStatus
from fusionrun.api.status.stages import GpuUsage, PodUsage, StageStatus
from fusionrun.api.storable import bounded
from fusionrun.plan.gpus import cost_per_hour, gpus_of
from fusionrun.settings import Accelerators
from fusionrun.state.observe.gpu_pods import GpuPod
from fusionrun.state.observe.object_fields import format_time, parse_time
from fusionrun.state.observe.observed import Observed
from fusionrun.state.report.stage_status import ACTIVE, DONE

SECONDS_PER_HOUR = 3600
GPU_QUANTUM_SECONDS = 60
"""The time of a running pod is counted in whole minutes, so that time alone causes few writes of the status."""
UNOBSERVED = timedelta(minutes=15)
"""Longest time that is counted for a pod after it was last observed, if it is gone and its end is unknown: the operator
was down, or its clock changed. Longer than the time between two resyncs."""


@dataclass(frozen=True)
class StageTime:
    """The GPU time of one stage."""

    seconds: int = 0
    cost_micro: int = 0
    usage: GpuUsage | None = None
    pods: tuple[PodUsage, ...] = ()
    """Its pods that hold GPUs."""
    leaving: float = 0.0
    """GPUs of those of them that are being deleted, or belong to an attempt before the last."""

    @property
    def gpus(self) -> float:
        """GPUs that its pods hold."""
        return sum(pod.gpus for pod in self.pods)

    def fields(self) -> dict[str, Any]:
        """Return the fields of the status of the stage."""
        return {
            "gpu_seconds": self.seconds or None,
            "earlier_gpu_seconds": None,
            "gpu_cost_micro": self.cost_micro or None,
            "gpu_usage": self.usage,
        }


@dataclass(frozen=True)
class GpuTime:
    """The GPU time of the stages of a run."""

    stages: Mapping[str, StageTime] = field(default_factory=dict)
    observed: datetime | None = None
    """Time of this observation; None if no pod holds GPUs."""

    def stage(self, name: str) -> StageTime:
        """Return the GPU time of a stage."""
        return self.stages.get(name, StageTime())

    @property
    def seconds(self) -> int:
        """GPU-seconds of the run."""
        return sum(stage.seconds for stage in self.stages.values())

    @property
    def cost_micro(self) -> int:
        """Cost of the GPUs of the run, in millionths."""
        return sum(stage.cost_micro for stage in self.stages.values())

    @property
    def gpus_in_use(self) -> int:
        """GPUs that pods of the run hold, rounded up."""
        return math.ceil(round(sum(stage.gpus for stage in self.stages.values()), 3))

    def apply(self, stages: Iterable[StageStatus]) -> list[StageStatus]:
        """Return the statuses of stages with their GPU time."""
        return [self._applied(stage) for stage in stages]

    def _applied(self, stage: StageStatus) -> StageStatus:
        fields = self._fields(stage)
        same = all(getattr(stage, name) == value for name, value in fields.items())
        return stage if same else stage.model_copy(update=fields)

    def _fields(self, stage: StageStatus) -> dict[str, Any]:
        time = self.stage(stage.name)
        if stage.state in DONE and not time.pods:  # no pod is counted any more
            time = StageTime(time.seconds, time.cost_micro)
        return time.fields()


def gpu_time(before: FusionRunStatus, observed: Observed, accelerators: Accelerators, now: datetime) -> GpuTime:
    """Count the GPU time of a run up to now."""
    previous = {stage.name: stage for stage in before.stages}
    gone = _end_if_gone(before, observed, now)
    stages = {}
    for name in dict.fromkeys([*previous, *observed.stages]):
        pods = observed.stage(name).pods
        latest = observed.stage(name).latest
        attempt = latest.attempt if latest else 0
        stages[name] = _Counting(previous.get(name), pods, attempt, accelerators, now, gone).count()
    held = any(stage.pods for stage in stages.values())
    whole_minutes = now - timedelta(seconds=now.timestamp() % GPU_QUANTUM_SECONDS)
    return GpuTime(stages, whole_minutes if held else None)


def _end_if_gone(before: FusionRunStatus, observed: Observed, now: datetime) -> datetime:
    """Return when a pod has ended that is gone without an end: now, but not much later than it was last observed.

    Times in the objects that exist are in the past, whatever the operator's clock says.
    """
    times = (pod.latest for stage in observed.stages.values() for pod in stage.pods if pod.devices)
    present = max([now, *(time for time in times if time)])
    previous = parse_time(before.gpus_observed_time)
    return min(present, previous + UNOBSERVED) if previous else present


@dataclass(frozen=True)
class _Counting:
    """The GPU time of one stage."""

    old: StageStatus | None
    pods: Sequence[GpuPod]
    attempt: int
    """Latest attempt."""
    accelerators: Accelerators
    now: datetime
    gone: datetime
    """End of the pods that are gone without one."""

    def count(self) -> StageTime:
        old = self.old
        if not any(pod.devices for pod in self.pods) and (old is None or not (old.gpu_usage or old.gpu_seconds)):
            return StageTime()
        base = self._base()
        recorded = {pod.uid: pod for pod in base.pods}
        seconds, cost = float(base.ended_gpu_seconds or 0), float(base.ended_cost_micro or 0)
        last = counted = parse_time(base.ended_time)
        done = self.old is not None and self.old.state in DONE
        held, leaving = [], 0.0
        for pod in self.pods:
            known = recorded.pop(pod.uid, None)
            usage = known or self._usage(pod)
            if usage is None:
                continue
            if pod.running:
                held.append(usage)
                leaving += usage.gpus if pod.deleting or pod.attempt < self.attempt else 0
                continue
            end = pod.ended or self.gone
            if known is None and (done or (counted is not None and end <= counted)):
                continue
            seconds, cost = seconds + _seconds(usage, end), cost + _cost(usage, end)
            last = max(last or end, end)
        for usage in recorded.values():  # the pod is gone
            seconds, cost = seconds + _seconds(usage, self.gone), cost + _cost(usage, self.gone)
        held.sort(key=lambda usage: (usage.start_time, usage.uid))
        running = [self._until_now(usage) for usage in held]
        return StageTime(
            seconds=bounded(seconds + sum(_seconds(u, end) for u, end in zip(held, running, strict=True))),
            cost_micro=bounded(cost + sum(_cost(u, end) for u, end in zip(held, running, strict=True))),
            usage=_record(bounded(seconds), bounded(cost), last, held),
            pods=tuple(held),
            leaving=leaving,
        )

    def _until_now(self, usage: PodUsage) -> datetime:
        start = _start(usage)
        return start + max(timedelta(0), (self.now - start) // _QUANTUM * _QUANTUM)

    def _usage(self, pod: GpuPod) -> PodUsage | None:
        """Return the record of a pod that is not recorded yet; None if it holds no GPUs."""
        gpus = gpus_of(pod.devices, self.accelerators)
        if pod.bound is None or not gpus:
            return None
        cost = cost_per_hour(pod.devices, pod.node_selector, self.accelerators)
        return PodUsage(
            uid=pod.uid,
            start_time=format_time(pod.bound),
            gpus=gpus,
            cost_per_hour_micro=round(cost * MICRO) or None,
        )

    def _base(self) -> GpuUsage:
        """Return what was counted before."""
        old = self.old
        if old is None:
            return GpuUsage()
        if old.gpu_usage is None:
            return self._of_release_0_2(old)
        if old.gpu_usage.ended_gpu_seconds is not None:
            return old.gpu_usage
        total = {"ended_gpu_seconds": old.gpu_seconds, "ended_cost_micro": old.gpu_cost_micro}
        return old.gpu_usage.model_copy(update=total)

    def _of_release_0_2(self, old: StageStatus) -> GpuUsage:
        """Return what release 0.2.0 counted, from the first pod of the attempt: without the pods that exist.

        Of a stage that is not active, it counted all pods until the stage stopped.
        """
        if not old.gpu_seconds or old.state in DONE:
            return GpuUsage(ended_gpu_seconds=old.gpu_seconds, ended_cost_micro=old.gpu_cost_micro)
        active = old.state in ACTIVE
        pods = [(pod, usage) for pod in self.pods if (usage := self._usage(pod))]
        of_attempt = [each for each in pods if active and each[0].attempt == self.attempt]
        counted = [each for each in pods if each not in of_attempt]
        ends = [pod.ended for pod, _ in counted if pod.ended]
        again = sum(_seconds(usage, pod.ended or self.now) for pod, usage in of_attempt)
        start = format_time(self.now)
        return GpuUsage(
            ended_gpu_seconds=round(max(old.gpu_seconds - again, old.earlier_gpu_seconds or 0)),
            ended_time=format_time(max(ends)) if ends else None,
            pods=[usage.model_copy(update={"start_time": start}) for pod, usage in counted if pod.running],
        )


_QUANTUM = timedelta(seconds=GPU_QUANTUM_SECONDS)


def _record(seconds: int, cost: int, last: datetime | None, held: list[PodUsage]) -> GpuUsage | None:
    if not held and last is None and not seconds:
        return None
    totals = {"ended_gpu_seconds": seconds, "ended_cost_micro": cost} if held else {}
    return GpuUsage(**totals, ended_time=format_time(last) if last else None, pods=held)


def _start(usage: PodUsage) -> datetime:
    return datetime.fromisoformat(usage.start_time)


def _seconds(usage: PodUsage, end: datetime) -> float:
    return usage.gpus * max(0.0, (end - _start(usage)).total_seconds())


def _cost(usage: PodUsage, end: datetime) -> float:
    return (usage.cost_per_hour_micro or 0) * max(0.0, (end - _start(usage)).total_seconds()) / SECONDS_PER_HOUR
