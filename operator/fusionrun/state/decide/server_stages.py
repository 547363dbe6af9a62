"""The decision on a model server: it starts with the stage that uses it, and is deleted when that stage is done."""

from dataclasses import replace

from fusionrun.api.status.conditions import Reason
from fusionrun.api.status.stages import StageState
from fusionrun.plan.stages import Stage
from fusionrun.state.decide.attempts import failed, report_ignored_queue, running, server_restarts, status_of
from fusionrun.state.decide.context import Context, Outcomes, StageOutcome
from fusionrun.state.decide.next_attempt import TERMINATING, back_off, still_backing_off
from fusionrun.state.decide.retries import (
    attempt_to_start,
    avoided_with,
    nodes_of,
    numbers_after,
    seconds_left,
)
from fusionrun.state.decide.start import retry_message, start, stopped, waiting
from fusionrun.state.decide.work import measure
from fusionrun.state.observe.workloads import Phase, Workload

RESTARTED = "server restarted: the previous server generated no tokens"
FAILED = "server restarted: the previous server failed"
LOADING = "the server is loading the model and is not Ready yet"


def decide_server(context: Context, stage: Stage, before: Outcomes) -> StageOutcome:
    """Decide on a ``serve`` stage."""
    observed = context.observed_stage(stage)
    workload = observed.latest
    client = context.pinned.plan.client_of(stage)
    if _is_over(context, client):
        state, reason = StageState.SUCCEEDED, Reason.NO_LONGER_NEEDED
        if workload is None:
            status = stopped(context, stage, state, reason)
        else:
            status = status_of(context, stage, workload, state, reason, context.now)
            status = status.model_copy(update={"work": measure(context, stage, workload, context.now)})
        return StageOutcome(status, delete=observed.running_objects)
    if context.observed_stage(client).latest is None and (text := context.not_allowed):
        return StageOutcome(waiting(context, stage, Reason.NOT_ALLOWED, text), delete=observed.running_objects)
    attempt = max(_attempt_of(context, client), attempt_to_start(context.previous.get(stage.name)))
    if workload is None or workload.attempt < attempt:
        outcome = _next(context, stage, before, attempt, workload)
    else:
        outcome = _existing(context, stage, workload)
    return replace(outcome, delete=(*outcome.delete, *observed.before(attempt).running_objects))


def _next(context: Context, stage: Stage, before: Outcomes, attempt: int, workload: Workload | None) -> StageOutcome:
    """Start an attempt, or wait until it is due after a failed one."""
    old = context.previous.get(stage.name)
    if outcome := still_backing_off(context, stage):
        return outcome
    message, nodes = None, []
    if old and old.retry_time:
        message = old.message if old.reason == Reason.BACK_OFF else FAILED
    elif attempt and attempt == context.first_attempt(stage):
        message = retry_message(context, stage)
    elif attempt > (old.attempt or 0 if old else 0):
        message, nodes = RESTARTED, nodes_of(workload) if workload else []
    avoided = avoided_with(old, nodes)
    outcome = start(context, stage, before, attempt, message, avoided or [])
    return replace(outcome, status=outcome.status.model_copy(update={"avoided_nodes": avoided}))


def _existing(context: Context, stage: Stage, workload: Workload) -> StageOutcome:
    match workload.phase:
        case Phase.READY:
            status = status_of(context, stage, workload, StageState.READY, Reason.SERVER_READY)
            status = status.model_copy(update={"message": _replicas_text(workload)})
            return StageOutcome(report_ignored_queue(workload, status))
        case Phase.FAILED:
            return _failed(context, stage, workload)
        case Phase.TERMINATING:
            return StageOutcome(waiting(context, stage, Reason.PODS_PENDING, TERMINATING))
        case Phase.RUNNING | Phase.SUCCEEDED:
            return running(context, stage, workload, LOADING)


def _replicas_text(workload: Workload) -> str | None:
    """Return how many replicas are Ready, unless all are. One is enough to start: the client uses those that are."""
    ready, wanted = workload.ready_replicas, workload.replicas
    return f"{ready} of {wanted} replicas are Ready" if ready < wanted else None


def _failed(context: Context, stage: Stage, workload: Workload) -> StageOutcome:
    """Delete a server that failed on its node, which releases its GPUs; another one starts later on another node."""
    failure = workload.failure
    if failure is None or failure.reason is not Reason.SERVER_NOT_READY:
        return failed(context, stage, workload, failure)
    numbers = numbers_after(context, stage, workload, failure)
    if (numbers["failures"] or 0) > context.pinned.spec.backoff_limit:
        return failed(context, stage, workload, failure)
    status = back_off(context, stage, workload, numbers, failure)
    left = seconds_left(numbers["retry_time"], context.now)
    delete = context.observed_stage(stage).running_objects
    return StageOutcome(status, delete=delete, requeue_seconds=left)


def _attempt_of(context: Context, client: Stage) -> int:
    """Return the attempt of the client that the server is for: the next one if the server stalled."""
    workload = context.observed_stage(client).latest
    first = context.first_attempt(client)
    if workload is None:
        return first
    return max(first, workload.attempt + server_restarts(context, client, workload))


def _is_over(context: Context, client: Stage) -> bool:
    """Return whether a client needs its server no more: its artifact is complete."""
    workload = context.observed_stage(client).latest
    return context.is_done(client) or (workload is not None and workload.phase is Phase.SUCCEEDED)
