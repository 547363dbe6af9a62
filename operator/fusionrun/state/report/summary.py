"""From what a walk found to the status of the run: totals, the headline, where the results lie."""

from collections.abc import Sequence
from datetime import datetime

from fusionrun.api.status import Artifacts, ConditionType, FusionRunStatus, Reason, StageState, StageStatus
from fusionrun.state.decide.program_stages import Walk
from fusionrun.state.report.conditions import Wanted, set_conditions, stamp
from fusionrun.state.report.stage_status import DONE

HEADLINE_CHARACTERS = 60


def summary(
    before: FusionRunStatus, wanted: Sequence[Wanted], generation: int, now: datetime, walk: Walk | None = None
) -> FusionRunStatus:
    """Return the status of a run.

    Parameters
    ----------
    before
        The status so far; what nobody has found anew stays.
    wanted
        The conditions that hold.
    generation
        Of the run's object, as of which all this is said.
    walk
        The walk over the stages; None where there was none, since the spec cannot be read.
    """
    finished = any(kind is ConditionType.FINISHED and holds for kind, holds, _, _ in wanted)
    stages = list(walk.statuses.values()) if walk else before.stages
    held = _gpus_held(walk) if walk and not finished else 0
    spent = sum(s.gpu_seconds or 0 for s in stages)
    return FusionRunStatus(
        observed_generation=generation,
        conditions=set_conditions(before.conditions, wanted, generation, now),
        stages=stages,
        results=walk.benchmarks if walk else before.results,
        dataset=walk.dataset if walk else before.dataset,
        artifacts=(_artifacts(walk) if walk else None) or before.artifacts,
        start_time=before.start_time or stamp(now),
        completion_time=(before.completion_time or stamp(now)) if finished else None,
        stage=_headline(stages),
        progress=f"{sum(s.state in DONE for s in stages)}/{len(stages)}" if stages else None,
        gpus_in_use=held,
        gpu_seconds=spent or None,
    )


def _gpus_held(walk: Walk) -> int:
    """Count the GPUs of the pods that are bound to a node and have not ended, of whatever attempt."""
    return sum(
        stage.gpus_per_pod * workload.bound_pods
        for stage in walk.layout.plan.stages
        for workload in walk.observed.stage(stage.name).workloads
    )


def seen_again(before: FusionRunStatus, generation: int) -> FusionRunStatus:
    """Return the status of a run at its end, after its object has changed: nothing follows, but it was seen."""
    conditions = [c.model_copy(update={"observed_generation": generation}) for c in before.conditions]
    return before.model_copy(update={"observed_generation": generation, "conditions": conditions})


def _artifacts(walk: Walk) -> Artifacts | None:
    unmade = (Reason.GATE_FAILED, Reason.NO_LONGER_NEEDED)
    done = {n for n, s in walk.statuses.items() if s.state in DONE and s.reason not in unmade}
    layout = walk.layout
    if not layout.digests or not {"construct", "sft", "promote"} & done:
        return None
    publish = layout.spec.publish
    return Artifacts(
        dataset=layout.artifact("construct") if "construct" in done else None,
        sft_model=layout.artifact("sft", "model") if "sft" in done else None,
        model=layout.artifact("promote", "model") if "promote" in done else None,
        published=publish.uri if publish and "publish" in done else None,
    )


def _headline(stages: Sequence[StageStatus]) -> str | None:
    """Name the stages at work, or the failed one, as short as ``kubectl get`` has room for."""
    failed = [s.name for s in stages if s.state is StageState.FAILED]
    at_work = [s.name for s in stages if s.state is StageState.RUNNING] or [
        s.name for s in stages if s.state is StageState.READY
    ]
    text = ", ".join(failed or at_work)
    return (text if len(text) <= HEADLINE_CHARACTERS else text[: HEADLINE_CHARACTERS - 1] + "…") or None
