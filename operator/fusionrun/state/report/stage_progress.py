"""Progress of a running stage, its estimated time left, and the GPU time of a stage. For display only."""

from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from fusionrun.api.result import Progress
from fusionrun.api.status import StageProgress
from fusionrun.plan.stages import Stage
from fusionrun.state.observe.observed import ObservedStage
from fusionrun.state.observe.workloads import Workload

PERCENT = 100
ETA_QUANTUM_SECONDS = 15
GPU_QUANTUM_SECONDS = 60
"""Estimates change in steps, so that time alone causes no write of the status."""


@dataclass(frozen=True)
class Numbers:
    """The numbers of a running stage."""

    progress: StageProgress | None = None
    eta_seconds: int | None = None
    tokens_per_second: float | None = None
    cost_micro: int | None = None
    loss: float | None = None
    reward_accuracy: float | None = None


def numbers(stage: Stage, seen: ObservedStage, workload: Workload, now: datetime) -> Numbers:
    """Sum up what the pods of a stage pushed and what its Job counts.

    Any pod with the run's labels may push. Progress that breaks the contract or names a shard that does not exist is
    ignored.
    """
    by_index = _usable(stage, seen)
    pushed = list(by_index.values())
    progress, fraction = _progress(stage, by_index, workload)
    return Numbers(
        progress=progress,
        eta_seconds=_eta(fraction, workload.started, now),
        tokens_per_second=_total([p.numbers.get("tokens_per_second") for p in pushed], 1),
        cost_micro=int(_total([p.numbers.get("cost_micro") for p in pushed], 0) or 0) or None,
        loss=_last([p.numbers.get("loss") for p in pushed]),
        reward_accuracy=_last([p.numbers.get("reward_accuracy") for p in pushed]),
    )


def _usable(stage: Stage, seen: ObservedStage) -> dict[int, Progress]:
    usable = {}
    for index, pushed in seen.pushed.items():
        if not 0 <= index < (stage.shards or 1):
            continue
        try:
            usable[index] = Progress.model_validate(vars(pushed.progress))
        except ValidationError:
            continue
    return usable


def _progress(stage: Stage, pushed: dict[int, Progress], workload: Workload) -> tuple[StageProgress | None, float]:
    if stage.shards is None:
        if 0 not in pushed:
            return None, 0.0
        one = pushed[0]
        return StageProgress(done=one.done, total=one.total, unit=one.unit), one.done / max(1, one.total)
    working = [p.done / p.total for p in pushed.values() if 0 < p.done < p.total]
    fraction = min(1.0, (workload.completed_shards + sum(working)) / stage.shards)
    return StageProgress(done=int(PERCENT * fraction), total=PERCENT, unit="%"), fraction


def _eta(fraction: float, started: datetime | None, now: datetime) -> int | None:
    if started is None or fraction <= 0.02 or fraction >= 1:  # noqa: PLR2004 -- too early for an estimate, or done
        return None
    left = (now - started).total_seconds() * (1 - fraction) / fraction
    return int(-(-left // ETA_QUANTUM_SECONDS) * ETA_QUANTUM_SECONDS)


def _total(values: list[float | None], digits: int) -> float | None:
    known = [v for v in values if v is not None]
    return round(sum(known), digits) if known else None


def _last(values: list[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return round(known[-1], 4) if known else None


def gpu_seconds(gpus: int, placed: datetime, until: datetime, earlier: int, *, running: bool) -> int:
    """Return the GPU-seconds held, including earlier attempts; of a running stage in whole minutes per GPU."""
    seconds = int((until - placed).total_seconds())
    if running:
        seconds -= seconds % GPU_QUANTUM_SECONDS
    return earlier + gpus * max(0, seconds)
