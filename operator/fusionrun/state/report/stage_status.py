"""The status of one stage, from its previous status and its workload. Decides nothing."""

from datetime import datetime

from fusionrun.api.status import Reason, StageState, StageStatus
from fusionrun.plan.stages import Stage
from fusionrun.state.observe.object_fields import format_time, parse_time
from fusionrun.state.observe.workloads import Workload
from fusionrun.state.report.stage_progress import gpu_seconds

DONE = frozenset({StageState.SUCCEEDED, StageState.SKIPPED})
ACTIVE = frozenset({StageState.RUNNING, StageState.READY})
UNFINISHED = ACTIVE | {StageState.WAITING}
MESSAGE_CHARACTERS = 1024


def idle(
    stage: Stage | StageStatus,
    old: StageStatus | None,
    state: StageState,
    reason: Reason | None = None,
    message: str | None = None,
) -> StageStatus:
    """Return the status of a stage that holds no GPUs now: its GPU time is that of earlier attempts."""
    spent = old.gpu_seconds if old else None
    return StageStatus(
        name=stage.name,
        state=state,
        reason=reason,
        message=message[:MESSAGE_CHARACTERS] if message else None,
        gpu_seconds=spent,
        earlier_gpu_seconds=spent,
    )


def with_workload(
    stage: Stage,
    old: StageStatus | None,
    workload: Workload,
    state: StageState,
    reason: Reason,
    now: datetime,
    ended: datetime | None = None,
) -> StageStatus:
    """Return the status of a stage that has a workload."""
    started = (parse_time(old.start_time) if old else None) or workload.started
    status = idle(stage, old, state, reason).model_copy(
        update={
            "attempt": workload.attempt or None,
            "start_time": format_time(started) if started else None,
            "end_time": format_time(ended) if ended else None,
            "object_ref": f"{workload.manifest['kind']}/{workload.manifest['metadata']['name']}",
        }
    )
    if workload.placed is None:  # its pods wait for a node, for the first time or after a preemption
        return status
    earlier = (old.earlier_gpu_seconds if old else None) or 0
    spent = gpu_seconds(stage.gpus, workload.placed, ended or now, earlier, running=ended is None)
    known = (old.gpu_seconds if old else None) or 0  # the GPU time of a deleted pod still counts
    return status.model_copy(update={"gpu_seconds": max(spent, known) or None, "earlier_gpu_seconds": earlier or None})
