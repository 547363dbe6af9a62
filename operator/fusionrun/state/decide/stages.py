"""The decisions on the stages of a run, in plan order: each one sees the outcomes of the stages before it."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace

from fusionrun.api.stage import StageKind
from fusionrun.api.status.conditions import Reason
from fusionrun.api.status.stages import StageState, StageStatus
from fusionrun.plan.stages import Stage
from fusionrun.state.decide.context import Context, Outcomes, StageOutcome
from fusionrun.state.decide.deadlines import with_deadlines
from fusionrun.state.decide.order import order
from fusionrun.state.decide.program_stages import decide_program
from fusionrun.state.decide.restore import restore
from fusionrun.state.decide.server_stages import decide_server
from fusionrun.state.decide.start import is_ready, missed_gates, stopped, waiting
from fusionrun.state.report.stage_status import MESSAGE_CHARACTERS, UNFINISHED, idle


def decide_stages(context: Context, outcomes: Outcomes) -> Outcomes:
    """Decide on every stage; ``outcomes`` has the scores and the data set known so far, and no stages."""
    for stage in context.pinned.plan.stages:
        outcomes = outcomes.add(decide_stage(context, stage, outcomes))
    return _start_queued(context, outcomes)


def _start_queued(context: Context, outcomes: Outcomes) -> Outcomes:
    """Start the stages whose turn it is, until there is none, so that the next decision starts no other."""
    while (next_ones := order(context, outcomes)).start:
        for stage in next_ones.start:
            outcomes = outcomes.add(decide_stage(replace(context, in_turn=stage.name), stage, outcomes))
    return _with_messages(outcomes, next_ones.messages)


def _with_messages(outcomes: Outcomes, messages: Mapping[str, str]) -> Outcomes:
    """Say what the stages wait for whose turn it is not."""
    for name, text in messages.items():
        outcome = outcomes.stages[name]
        status = outcome.status.model_copy(update={"message": text[:MESSAGE_CHARACTERS]})
        outcomes = outcomes.add(replace(outcome, status=status))
    return outcomes


def decide_stage(context: Context, stage: Stage, before: Outcomes) -> StageOutcome:
    """Decide on one stage, given the outcomes of the stages before it."""
    observed = context.observed_stage(stage)
    if ended := _ended(context, stage):
        return ended
    if context.needed is not None and stage.name not in context.needed:
        return _skipped(context, stage)
    workload = context.observed_stage(stage).latest
    if stage.name in context.held_back and workload and workload.active:
        status = waiting(context, stage, Reason.WAITING_FOR_ARTIFACT, context.held_back[stage.name])
        return StageOutcome(status, delete=context.observed_stage(stage).running_objects)
    if stage.traits.is_server:
        return with_deadlines(context, stage, restore(context, stage, before, decide_server(context, stage, before)))
    if stage.kind is StageKind.PUBLISH and is_ready(context, stage, before) and (text := missed_gates(context, before)):
        status = StageStatus(name=stage.name, state=StageState.SKIPPED, reason=Reason.GATE_FAILED, message=text)
        return StageOutcome(status)
    outcome = restore(context, stage, before, decide_program(context, stage, before))
    outcome = with_deadlines(context, stage, outcome)
    # Another controller may let an earlier attempt, which had failed, run again.
    return replace(outcome, delete=(*outcome.delete, *observed.earlier.running_objects))


def _ended(context: Context, stage: Stage) -> StageOutcome | None:
    """Return the outcome of a stage that ended before this decision; None if it did not."""
    observed = context.observed_stage(stage)
    if context.is_done(stage):
        done = context.previous[stage.name]
        # The status is written first, so a skipped stage may still have the workload that was to be deleted with it.
        all_of_it = stage.traits.is_server or done.state is StageState.SKIPPED
        return StageOutcome(done, delete=(observed if all_of_it else observed.earlier).running_objects)
    if failure := context.failure(stage):  # its workload may be gone, and must not start again
        return StageOutcome(context.previous[stage.name], delete=observed.running_objects, failure=failure)
    return None


def _skipped(context: Context, stage: Stage) -> StageOutcome:
    """Skip a stage that is not needed, or no longer since another run has made its artifact."""
    hit = stage.name in context.complete
    reason = Reason.CACHE_HIT if hit else Reason.NO_LONGER_NEEDED
    status = stopped(context, stage, StageState.SKIPPED, reason, context.complete.get(stage.name))
    status = status.model_copy(update={"cache_hit": hit or None, "retry_time": None})
    return StageOutcome(status, delete=context.observed_stage(stage).running_objects)


def stop(
    context: Context, outcomes: Outcomes, reason: Reason, message: str, only: AbstractSet[str] | None = None
) -> Outcomes:
    """Stop every stage, or ``only`` some: create nothing, delete what runs, and keep ended objects for their logs."""
    stopped = {
        stage.name: _stop(context, stage, outcomes.stages[stage.name], reason, message)
        for stage in context.pinned.plan.stages
        if only is None or stage.name in only
    }
    return replace(outcomes, stages=outcomes.stages | stopped)


def _stop(context: Context, stage: Stage, outcome: StageOutcome, reason: Reason, message: str) -> StageOutcome:
    status = outcome.status
    if status.state in UNFINISHED:
        status = idle(stage, status, StageState.PENDING, reason, message)
    elif status.state is StageState.PENDING and not status.reason:  # it waits for no other stage any more
        status = status.model_copy(update={"message": None})
    delete = (*outcome.delete, *context.observed_stage(stage).running_objects)
    return replace(outcome, status=status, create=(), events=(), delete=delete)
