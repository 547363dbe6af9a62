"""The status of a run: conditions, totals, the headline, and where its artifacts are."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from fusionrun.api.artifacts import MODEL
from fusionrun.api.contract import Contract
from fusionrun.api.records import MICRO
from fusionrun.api.status.conditions import ConditionStatus, ConditionType, Reason
from fusionrun.api.status.estimate import Estimate
from fusionrun.api.status.results import Artifacts, BenchmarkResult, DatasetSummary, GroupResult
from fusionrun.api.status.run import FusionRunStatus
from fusionrun.api.status.stages import StageState, StageStatus
from fusionrun.api.storable import bounded
from fusionrun.plan.pinned import PinnedPlan
from fusionrun.state.observe.object_fields import format_time
from fusionrun.state.report import active_time
from fusionrun.state.report.conditions import NewCondition, set_conditions
from fusionrun.state.report.gpu_time import GpuTime
from fusionrun.state.report.stage_status import DONE, TRAINING_NUMBERS

HEADLINE_CHARACTERS = 60
STAGE_NUMBERS = frozenset(
    {
        *("progress", "eta_seconds", "tokens_per_second", *TRAINING_NUMBERS, "cost_micro"),
        *("gpu_seconds", "gpu_cost_micro"),
    }
)
RUN_NUMBERS = frozenset(
    {
        *("cost", "cost_micro", "gpu_seconds", "gpus_observed_time", "estimate"),
        *("active_seconds", "active_until"),
    }
)
"""Fields of the status of a stage and of a run that change all the time while pods run: no decision waits for them."""
STAGE_DETAILS = frozenset({"reason", "message"})


@dataclass(frozen=True)
class RunReport:
    """What a status says about the stages of a run."""

    stages: list[StageStatus]
    results: list[BenchmarkResult]
    dataset: DatasetSummary | None
    groups: list[GroupResult] = field(default_factory=list)
    artifacts: Artifacts | None = None
    estimate: Estimate | None = None
    training_backend: str | None = None
    gpu_time: GpuTime = field(default_factory=GpuTime)
    currency: str = ""


def summary(
    before: FusionRunStatus,
    conditions: Sequence[NewCondition],
    generation: int,
    now: datetime,
    report: RunReport | None = None,
) -> FusionRunStatus:
    """Return the status of a run; without a report, that of its stages does not change."""
    report = report or RunReport(before.stages, before.results, before.dataset, before.groups)
    finished = is_finished(conditions)
    stages = report.gpu_time.apply(report.stages)
    active = not finished and not any(
        c.type is ConditionType.SUSPENDED and c.status is ConditionStatus.TRUE for c in conditions
    )
    return FusionRunStatus(
        **active_time.recorded(before, now, active=active),
        observed_generation=generation,
        conditions=set_conditions(before.conditions, conditions, generation, now),
        stages=stages,
        results=report.results,
        groups=report.groups,
        dataset=report.dataset,
        estimate=report.estimate or before.estimate,
        artifacts=report.artifacts or before.artifacts,
        start_time=before.start_time or format_time(now),
        completion_time=(before.completion_time or format_time(now)) if finished else None,
        stage=_headline(stages),
        progress=f"{sum(s.state in DONE for s in stages)}/{len(stages)}" if stages else None,
        **_totals(stages, report.gpu_time, report.currency),
        retry=before.retry,
        retries=before.retries,
        training_backend=report.training_backend or before.training_backend,
        spec_digest=before.spec_digest,
        resolved_digest=before.resolved_digest,
        pins=before.pins,
    )


def is_finished(conditions: Sequence[NewCondition]) -> bool:
    """Return whether the new conditions say that the run has finished."""
    return any(c.type is ConditionType.FINISHED and c.status is ConditionStatus.TRUE for c in conditions)


def only_numbers(before: FusionRunStatus, after: FusionRunStatus) -> bool:
    """Return whether two statuses differ only in numbers that both of them have."""
    return _stages_equal_but(before, after, frozenset())


def only_details(before: FusionRunStatus, after: FusionRunStatus) -> bool:
    """Return whether two statuses differ only in such numbers, and in the reasons and messages of stages."""
    return _stages_equal_but(before, after, STAGE_DETAILS)


def _stages_equal_but(before: FusionRunStatus, after: FusionRunStatus, ignored: AbstractSet[str]) -> bool:
    if len(before.stages) != len(after.stages) or not _equal_but(before, after, RUN_NUMBERS, {"stages"}):
        return False
    pairs = zip(before.stages, after.stages, strict=True)
    return all(old is new or _equal_but(old, new, STAGE_NUMBERS, ignored) for old, new in pairs)


def _equal_but(
    old: Contract, new: Contract, numbers: AbstractSet[str], ignored: AbstractSet[str] = frozenset()
) -> bool:
    for name in type(old).model_fields.keys() - ignored:
        before, after = getattr(old, name), getattr(new, name)
        same = (before is None) == (after is None) if name in numbers else before is after or before == after
        if not same:
            return False
    return True


def with_generation(before: FusionRunStatus, generation: int) -> FusionRunStatus:
    """Return the status of a finished run whose spec has changed: only the observed generation changes."""
    conditions = [c.model_copy(update={"observed_generation": generation}) for c in before.conditions]
    return before.model_copy(update={"observed_generation": generation, "conditions": conditions})


def with_gpu_time(before: FusionRunStatus, gpu_time: GpuTime, currency: str) -> FusionRunStatus:
    """Return the status of a finished run with the GPU time of its pods, of which some may still terminate."""
    stages = gpu_time.apply(before.stages)
    return before.model_copy(update={"stages": stages, **_totals(stages, gpu_time, currency)})


def _totals(stages: Sequence[StageStatus], gpu_time: GpuTime, currency: str) -> dict[str, Any]:
    cost = bounded(sum((s.gpu_cost_micro or 0) + (s.cost_micro or 0) for s in stages))
    return {
        "gpus_in_use": gpu_time.gpus_in_use,
        "gpu_seconds": bounded(sum(s.gpu_seconds or 0 for s in stages)) or None,
        "cost_micro": cost or None,
        "cost": f"{cost / MICRO:.2f} {currency}".strip() if cost else None,
        "gpus_observed_time": format_time(gpu_time.observed) if gpu_time.observed else None,
    }


def artifacts(pinned: PinnedPlan, stages: Sequence[StageStatus]) -> Artifacts | None:
    """Return where the artifacts of finished stages are; None before the first."""
    skipped = (Reason.GATE_FAILED, Reason.NO_LONGER_NEEDED)
    done = {s.name for s in stages if s.state in DONE and s.reason not in skipped}
    if not pinned.digests or not {"construct", "sft", "promote"} & done:
        return None
    publish = pinned.spec.publish
    return Artifacts(
        dataset=pinned.artifact("construct") if "construct" in done else None,
        sft_model=pinned.artifact("sft", MODEL) if "sft" in done else None,
        model=pinned.artifact("promote", MODEL) if "promote" in done else None,
        published=publish.uri if publish and "publish" in done else None,
    )


def _headline(stages: Sequence[StageStatus]) -> str | None:
    """Name the failed stages, or else the running ones, in a text short enough for ``kubectl get``."""
    for state in (StageState.FAILED, StageState.RUNNING, StageState.READY):
        if text := ", ".join(s.name for s in stages if s.state is state):
            return text if len(text) <= HEADLINE_CHARACTERS else text[: HEADLINE_CHARACTERS - 1] + "…"
    return None
