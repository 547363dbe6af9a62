"""The status of a run: conditions, totals, the headline, and where its artifacts are."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fusionrun.api.artifacts import MODEL
from fusionrun.api.status import (
    Artifacts,
    BenchmarkResult,
    ConditionStatus,
    ConditionType,
    DatasetSummary,
    FusionRunStatus,
    Reason,
    StageState,
    StageStatus,
)
from fusionrun.plan.pinned import PinnedPlan
from fusionrun.plan.stages import Plan
from fusionrun.state.observe.object_fields import format_time
from fusionrun.state.observe.observed import Observed
from fusionrun.state.report import active_time
from fusionrun.state.report.conditions import NewCondition, set_conditions
from fusionrun.state.report.stage_status import DONE

HEADLINE_CHARACTERS = 60


@dataclass(frozen=True)
class RunReport:
    """What a status says about the stages of a run."""

    stages: list[StageStatus]
    results: list[BenchmarkResult]
    dataset: DatasetSummary | None
    artifacts: Artifacts | None = None
    gpus_in_use: int | None = 0


def summary(
    before: FusionRunStatus,
    conditions: Sequence[NewCondition],
    generation: int,
    now: datetime,
    report: RunReport | None = None,
) -> FusionRunStatus:
    """Return the status of a run; without a report, that of its stages does not change."""
    report = report or RunReport(before.stages, before.results, before.dataset)
    finished = is_finished(conditions)
    active = not finished and not any(
        c.type is ConditionType.SUSPENDED and c.status is ConditionStatus.TRUE for c in conditions
    )
    return FusionRunStatus(
        **active_time.recorded(before, now, active=active),
        observed_generation=generation,
        conditions=set_conditions(before.conditions, conditions, generation, now),
        stages=report.stages,
        results=report.results,
        dataset=report.dataset,
        artifacts=report.artifacts or before.artifacts,
        start_time=before.start_time or format_time(now),
        completion_time=(before.completion_time or format_time(now)) if finished else None,
        stage=_headline(report.stages),
        progress=f"{sum(s.state in DONE for s in report.stages)}/{len(report.stages)}" if report.stages else None,
        gpus_in_use=0 if finished else report.gpus_in_use,
        gpu_seconds=sum(s.gpu_seconds or 0 for s in report.stages) or None,
        spec_digest=before.spec_digest,
        resolved_digest=before.resolved_digest,
    )


def is_finished(conditions: Sequence[NewCondition]) -> bool:
    """Return whether the new conditions say that the run has finished."""
    return any(c.type is ConditionType.FINISHED and c.status is ConditionStatus.TRUE for c in conditions)


def with_generation(before: FusionRunStatus, generation: int) -> FusionRunStatus:
    """Return the status of a finished run whose spec has changed: only the observed generation changes."""
    conditions = [c.model_copy(update={"observed_generation": generation}) for c in before.conditions]
    return before.model_copy(update={"observed_generation": generation, "conditions": conditions})


def gpus_in_use(plan: Plan, observed: Observed) -> int:
    """Count the GPUs of the pods that are bound to a node and have not ended, of all attempts."""
    return sum(
        stage.gpus_per_pod * workload.bound_pods
        for stage in plan.stages
        for workload in observed.stage(stage.name).workloads
    )


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
