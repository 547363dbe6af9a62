"""The outcome of an attempt that runs or failed. ``retries`` decides whether another attempt follows."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from fusionrun.api.artifacts import MOUNT_PATH
from fusionrun.api.status.conditions import Reason
from fusionrun.api.status.stages import LOG_TAIL_CHARACTERS, StageState, StageStatus
from fusionrun.objects.logs import log_directory
from fusionrun.plan.pod_settings_digest import pod_settings_digest
from fusionrun.plan.stages import Stage
from fusionrun.state.decide.context import Context, StageOutcome
from fusionrun.state.decide.prerequisites import secret_text
from fusionrun.state.decide.retries import may_follow, numbers_after
from fusionrun.state.observe.failures import Failure
from fusionrun.state.observe.kueue import ignored, seconds_to_look_up
from fusionrun.state.observe.missing_secrets import missing_secret
from fusionrun.state.observe.object_fields import format_time, parse_time
from fusionrun.state.observe.pending_pods import PENDING_GRACE, pending_pods
from fusionrun.state.observe.stalled_servers import client_stalled, was_unavailable
from fusionrun.state.observe.workloads import Workload
from fusionrun.state.report.stage_status import ACTIVE, MESSAGE_CHARACTERS, idle

SETTINGS_CHANGED = "no pod has a node, and the spec was changed: the stage starts again"
SECRET_RENAMED = "the pod waits for a Secret that is gone or has another name now: the stage starts again"  # noqa: S105
NO_POD_LEFT = "the workload failed, and its pods no longer exist: see the events of the namespace"


def status_of(
    context: Context, stage: Stage, workload: Workload, state: StageState, reason: Reason, ended: datetime | None = None
) -> StageStatus:
    """Return the status of a stage that has a workload."""
    old = context.previous.get(stage.name)
    started = (parse_time(old.start_time) if old else None) or workload.started
    fields: dict[str, Any] = {
        "attempt": workload.attempt or None,
        "pod_settings": old.pod_settings if old and state in ACTIVE else None,
        "retry_time": None,
        "start_time": format_time(started) if started else None,
        "end_time": format_time(ended) if ended else None,
        "object_ref": f"{workload.manifest['kind']}/{workload.manifest['metadata']['name']}",
    }
    return idle(stage, old, state, reason).model_copy(update=fields)


def running(context: Context, stage: Stage, workload: Workload, otherwise: str | None = None) -> StageOutcome:
    """Return the outcome of a running stage; ``otherwise`` is the message if no pod waits."""
    pending = pending_pods(workload, context.now)
    # Kueue deletes the pods of a stage that it preempts; the stage may wait in a queue that never admits it again.
    has_no_node = workload.waits or (pending.reason is Reason.QUEUED and not workload.is_bound)
    if has_no_node and settings_changed(context, stage) and not context.not_allowed:
        old = context.previous.get(stage.name)
        status = idle(stage, old, StageState.WAITING, pending.reason, SETTINGS_CHANGED)
        # The old settings stay known until the workload is gone: it may have to be deleted again.
        status = status.model_copy(update={"pod_settings": old.pod_settings if old else None})
        return StageOutcome(status, delete=(workload.ref,))
    if secret := missing_secret(workload.pods):
        text = secret_text(context.pinned, secret, context.settings)
        if text is None:
            return _without_secret(context, stage, workload, pending.since)
        pending = replace(pending, message=text, reason=Reason.SECRET_MISSING)
    reason = Reason.PODS_RUNNING if pending.running else pending.reason
    status = status_of(context, stage, workload, StageState.RUNNING, reason)
    status = status.model_copy(update={"message": pending.message or otherwise})
    status = report_ignored_queue(workload, status)
    again = seconds_to_look_up(workload.manifest, context.now)
    return StageOutcome(status, pending=pending if pending.is_relevant else None, requeue_seconds=again)


def report_ignored_queue(workload: Workload, status: StageStatus) -> StageStatus:
    """Return the status of a stage with pods, with a warning if Kueue ignores them. They are not stopped."""
    text = ignored(workload.manifest, workload.pods, workload.kueue)
    if not text:
        return status
    message = f"{text}; {status.message}" if status.message else text
    return status.model_copy(update={"reason": Reason.QUEUE_IGNORED, "message": message[:MESSAGE_CHARACTERS]})


def settings_changed(context: Context, stage: Stage) -> bool:
    """Return whether the spec has other settings for the pods of a stage than when its attempt started."""
    old = context.previous.get(stage.name)
    known = old.pod_settings if old else None
    return known is not None and known != pod_settings_digest(context.pinned.spec, stage)


def _without_secret(context: Context, stage: Stage, workload: Workload, since: datetime) -> StageOutcome:
    """Start a stage again: the spec names another Secret now, or somebody deleted the one of the servers.

    A webhook of the cluster may add the name of the Secret to each pod, so not at once.
    """
    old = context.previous.get(stage.name)
    status = idle(stage, old, StageState.WAITING, Reason.SECRET_MISSING, SECRET_RENAMED)
    left = (since + PENDING_GRACE - context.now).total_seconds()
    return StageOutcome(status, requeue_seconds=left) if left > 0 else StageOutcome(status, delete=(workload.ref,))


def failed(context: Context, stage: Stage, workload: Workload, failure: Failure | None) -> StageOutcome:
    """Return the outcome of a stage that failed and is not retried."""
    failure = failure or Failure(Reason.INFRASTRUCTURE_ERROR, NO_POD_LEFT)
    status = status_of(context, stage, workload, StageState.FAILED, failure.reason, workload.ended or context.now)
    log_tail = failure.log_tail[-LOG_TAIL_CHARACTERS:] or None
    directory = log_directory(context.pinned, stage).removeprefix(f"{MOUNT_PATH}/")
    update = {"message": failure.message[:MESSAGE_CHARACTERS], "log_tail": log_tail, "log_directory": directory}
    return StageOutcome(status.model_copy(update=update), failure=failure)


def server_unavailable(context: Context, stage: Stage, workload: Workload) -> bool:
    """Return whether a stage failed because its server was unavailable: the stage waits for it, at the same attempt."""
    return client_stalled(workload) and _server_was_unavailable(context, stage, workload)


def server_stalled(context: Context, stage: Stage, workload: Workload) -> bool:
    """Return whether a stage failed because its server stalled: both start again."""
    return (
        stage.server is not None and client_stalled(workload) and not _server_was_unavailable(context, stage, workload)
    )


def server_restarts(context: Context, client: Stage, workload: Workload) -> bool:
    """Return whether a server starts again because it stalled, and ``backoffLimit`` allows it."""
    failure = workload.failure
    if failure is None or not server_stalled(context, client, workload):
        return False
    return may_follow(context, client, numbers_after(context, client, workload, failure, at_once=True), failure)


def _server_was_unavailable(context: Context, stage: Stage, workload: Workload) -> bool:
    server = context.observed.stage(stage.server or "").latest
    return was_unavailable(server, workload, context.pinned.spec.generation.stall_seconds, context.now)
