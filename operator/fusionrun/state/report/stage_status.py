"""The status of a stage that does not run, and the progress and estimated time left of one that does.

Two decisions depend on what pods push: the cost of an endpoint counts for ``spec.budget.maxCost``, and the time left of
a stage for the order of the next ones. Everything else is for display.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from fusionrun.api.results.result import Progress
from fusionrun.api.status.conditions import Reason
from fusionrun.api.status.stages import StageProgress, StageState, StageStatus
from fusionrun.plan.stages import Stage
from fusionrun.state.observe.live_objects import PushedProgress
from fusionrun.state.observe.observed import ObservedStage
from fusionrun.state.observe.workloads import Workload

DONE = frozenset({StageState.SUCCEEDED, StageState.SKIPPED})
ACTIVE = frozenset({StageState.RUNNING, StageState.READY})
UNFINISHED = ACTIVE | {StageState.WAITING}
MESSAGE_CHARACTERS = 1024
ETA_QUANTUM_SECONDS = 15
"""Estimates change in steps, so that time alone causes no write of the status."""
TOO_EARLY = 0.02
"""Share of a pod's work below which its speed says too little."""
RETRY_FIELDS = ("attempt", "failures", "disruptions", "retry_time", "checkpoint_step", "avoided_nodes")
"""Fields that a stage keeps while it has no pods (``state.decide.retries``)."""

TRAINING_NUMBERS = {
    "loss": "loss",
    "reward_accuracy": "reward_accuracy",
    "reward_margin": "reward_margin",
    "gradient_norm": "gradient_norm",
    "model_flops_utilization": "mfu",
}
"""Fields of the status of a training, and the numbers that its pods push for them."""


def idle(
    stage: Stage | StageStatus,
    old: StageStatus | None,
    state: StageState,
    reason: Reason | None = None,
    message: str | None = None,
) -> StageStatus:
    """Return the status of a stage without running pods: its retries and costs are those of earlier attempts."""
    kept = {name: getattr(old, name) for name in (*RETRY_FIELDS, "first_attempt", "cost_micro")} if old else {}
    return StageStatus(
        name=stage.name,
        state=state,
        reason=reason,
        message=message[:MESSAGE_CHARACTERS] if message else None,
        **kept,
    )


def running_numbers(stage: Stage, observed: ObservedStage, workload: Workload, now: datetime) -> dict[str, Any]:
    """Return the fields of a stage's status from what its pods pushed and what its Job counts.

    Any pod with the run's labels may push. Progress that breaks the contract or names a shard that does not exist is
    ignored.
    """
    usable = _usable(stage, observed)
    pushed = {index: push.progress for index, push in usable.items()}
    progress, left = _progress(stage, pushed, workload)

    def values(name: str) -> list[float]:
        return [p.numbers[name] for p in pushed.values() if name in p.numbers]

    def latest(name: str) -> float | None:
        return round(numbers[-1], 4) if (numbers := values(name)) else None

    rates = values("tokens_per_second")
    return {
        "progress": progress,
        "eta_seconds": _eta(left, usable.values(), now),
        "tokens_per_second": round(sum(rates), 1) if rates else None,
        "cost_micro": int(round(sum(values("cost_micro")), 0)) or None,
        **{field: latest(name) for field, name in TRAINING_NUMBERS.items()},
    }


def _usable(stage: Stage, observed: ObservedStage) -> dict[int, PushedProgress]:
    usable = {}
    for index, pushed in observed.pushed.items():
        if not 0 <= index < stage.completions:
            continue
        try:
            usable[index] = replace(pushed, progress=Progress.model_validate(vars(pushed.progress)))
        except ValidationError:
            continue
    return usable


def _progress(stage: Stage, pushed: dict[int, Progress], workload: Workload) -> tuple[StageProgress | None, float]:
    """Return the progress, and what is left, in the unit of which each pod's progress is a share."""
    if stage.shares_shards:  # each pod reports its part of the whole stage
        fraction = min(1.0, sum(p.done / max(1, p.total) for p in pushed.values()))
        return StageProgress(done=int(100 * fraction), total=100, unit="%"), 1 - fraction
    if stage.shards is None:
        if 0 not in pushed:
            return None, 0.0
        done, total = pushed[0].done, pushed[0].total
        return StageProgress(done=done, total=total, unit=pushed[0].unit), 1 - done / max(1, total)
    unfinished = [p.done / p.total for p in pushed.values() if 0 < p.done < p.total]
    complete = min(float(stage.shards), workload.completed_shards + sum(unfinished))
    return StageProgress(done=int(100 * complete / stage.shards), total=100, unit="%"), stage.shards - complete


def _eta(left: float, pushed: Iterable[PushedProgress], now: datetime) -> int | None:
    """Return the seconds left at the speed of the pods since each of them first reported progress.

    What they found when they started, such as stored samples or a checkpoint, is no part of their speed. A pod that
    has made nothing yet counts with the mean speed of the others.
    """
    shares: list[float] = []
    speeds: list[float] = []
    running = 0
    for push in pushed:
        done, total = push.progress.done, push.progress.total
        is_done = done >= total
        running += not is_done
        share = (done - push.first_done) / max(1, total)
        seconds = ((push.at if is_done else now) - (push.since or now)).total_seconds()
        if share > 0 and seconds > 0:
            shares.append(share)
            speeds.append(share / seconds)
    if sum(shares) <= TOO_EARLY or left <= 0:
        return None
    seconds_left = left / (max(1, running) * sum(speeds) / len(speeds))
    return int(-(-seconds_left // ETA_QUANTUM_SECONDS) * ETA_QUANTUM_SECONDS)
