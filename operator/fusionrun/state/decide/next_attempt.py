"""The next attempt of a stage that failed: the wait until it is due, then its start."""

from dataclasses import replace
from typing import Any

from fusionrun.api.status.conditions import Reason
from fusionrun.api.status.stages import LOG_TAIL_CHARACTERS, StageStatus
from fusionrun.plan.stages import Stage
from fusionrun.state.decide.context import Context, Outcomes, StageOutcome
from fusionrun.state.decide.retries import may_follow, numbers_after, seconds_left
from fusionrun.state.decide.start import retry_message, start, waiting
from fusionrun.state.observe.failures import Failure
from fusionrun.state.observe.workloads import Workload

RETRIED = "retried: "
PREVIOUS_FAILED = "the previous attempt failed"
TERMINATING = "the last attempt was deleted, and its pods still terminate"


def retry(
    context: Context, stage: Stage, before: Outcomes, workload: Workload, failure: Failure, message: str | None = None
) -> StageOutcome | None:
    """Start the next attempt of a failed stage, or wait until it is due; None if no other attempt may follow.

    ``message`` is why there is another attempt; None for the message of the failure. The address of a server has the
    number of its attempt, so a client is only deleted here: it starts again as the same attempt, unless the server has
    stalled and starts again as well. Then there is no delay: the client has waited for ``stallSeconds``.
    """
    stalled = failure.reason is Reason.SERVER_WEDGED
    numbers = numbers_after(context, stage, workload, failure, at_once=stalled)
    if not may_follow(context, stage, numbers, failure):
        return None
    left = seconds_left(numbers["retry_time"], context.now)
    if left or (stage.server and not stalled):
        status = back_off(context, stage, workload, numbers, failure)
        delete = () if left else (workload.ref,)
        return StageOutcome(status, delete=delete, requeue_seconds=left or None)
    attempt = max(workload.attempt + 1, numbers["attempt"] or 0)
    if stage.server:  # which may have failed once more
        attempt = max(attempt, before.stages[stage.server].status.attempt or 0)
    avoided = numbers["avoided_nodes"] or []
    outcome = start(context, stage, before, attempt, message or RETRIED + failure.message, avoided)
    if outcome.create:
        numbers |= {"attempt": attempt, "retry_time": None}
    return replace(outcome, status=outcome.status.model_copy(update=numbers))


def back_off(
    context: Context, stage: Stage, workload: Workload, numbers: dict[str, Any], failure: Failure
) -> StageStatus:
    """Return the status of a stage that waits for its next attempt."""
    number = workload.attempt + 1
    text = f"attempt {number} failed: {failure.message}; attempt {number + 1} starts at {numbers['retry_time']}"
    status = waiting(context, stage, Reason.BACK_OFF, text)
    return status.model_copy(update={**numbers, "log_tail": failure.log_tail[-LOG_TAIL_CHARACTERS:] or None})


def still_backing_off(context: Context, stage: Stage) -> StageOutcome | None:
    """Return the outcome of a stage whose failed attempt is gone and whose next one is not due; else None."""
    old = context.previous.get(stage.name)
    left = seconds_left(old.retry_time, context.now) if old else 0.0
    if old is None or not left:
        return None
    status = waiting(context, stage, Reason.BACK_OFF, old.message or "")
    return StageOutcome(status.model_copy(update={"log_tail": old.log_tail}), requeue_seconds=left)


def awaiting_deletion(context: Context, stage: Stage) -> StageOutcome:
    """Return the outcome of a stage whose failed attempt is being deleted; the message says why it failed."""
    old = context.previous.get(stage.name)
    if old is None or old.reason != Reason.BACK_OFF:
        return StageOutcome(waiting(context, stage, Reason.PODS_PENDING, TERMINATING))
    status = waiting(context, stage, Reason.BACK_OFF, old.message or "")
    status = status.model_copy(update={"log_tail": old.log_tail})
    return StageOutcome(status, requeue_seconds=seconds_left(old.retry_time, context.now) or None)


def why(context: Context, stage: Stage) -> str | None:
    """Return why a stage without a workload has another attempt: that of its failure, or the retry of the run."""
    old = context.previous.get(stage.name)
    if old is None or old.retry_time is None:
        return retry_message(context, stage)
    # The message says something else if the stage has waited for another thing since.
    return old.message if old.reason == Reason.BACK_OFF else RETRIED + PREVIOUS_FAILED
