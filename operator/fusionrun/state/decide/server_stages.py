"""The decision on a model server: it starts with the stage that uses it, and is deleted when that stage is done."""

from dataclasses import replace

from fusionrun.api.status import Reason, StageState
from fusionrun.plan.stages import Stage
from fusionrun.state.decide.attempts import (
    failed,
    has_attempts_left,
    report_ignored_queue,
    running,
    server_stalled,
    status_of,
)
from fusionrun.state.decide.context import Context, Outcomes, StageOutcome
from fusionrun.state.decide.start import retry_message, start, stopped, waiting
from fusionrun.state.observe.workloads import Phase, Workload

RESTARTED = "server restarted: the previous server generated no tokens"
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
        return StageOutcome(status, delete=observed.running_objects)
    if context.observed_stage(client).latest is None and (text := context.not_allowed):
        return StageOutcome(waiting(context, stage, Reason.NOT_ALLOWED, text), delete=observed.running_objects)
    attempt = _attempt_of(context, client)
    if workload is None or workload.attempt < attempt:
        outcome = start(context, stage, before, attempt, _why(context, client, attempt))
    else:
        outcome = _existing(context, stage, workload)
    return replace(outcome, delete=(*outcome.delete, *observed.before(attempt).running_objects))


def _existing(context: Context, stage: Stage, workload: Workload) -> StageOutcome:
    match workload.phase:
        case Phase.READY:
            status = status_of(context, stage, workload, StageState.READY, Reason.SERVER_READY)
            return StageOutcome(report_ignored_queue(workload, status))
        case Phase.FAILED:
            return failed(context, stage, workload, workload.failure)
        case Phase.TERMINATING:
            return StageOutcome(waiting(context, stage, Reason.PODS_PENDING))
        case Phase.RUNNING | Phase.SUCCEEDED:
            return running(context, stage, workload, LOADING)


def _attempt_of(context: Context, client: Stage) -> int:
    """Return the attempt of the client that the server is for: the next one if the server stalled."""
    workload = context.observed_stage(client).latest
    first = context.first_attempt(client)
    if workload is None:
        return first
    restart = server_stalled(context, client, workload) and has_attempts_left(context, client, workload)
    return max(first, workload.attempt + restart)


def _why(context: Context, client: Stage, attempt: int) -> str | None:
    """Return why a server starts again; None for its first attempt."""
    if attempt == context.first_attempt(client):
        return retry_message(context, client)
    return RESTARTED


def _is_over(context: Context, client: Stage) -> bool:
    workload = context.observed_stage(client).latest
    return context.is_done(client) or (workload is not None and workload.phase is Phase.SUCCEEDED)
