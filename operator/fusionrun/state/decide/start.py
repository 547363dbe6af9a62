"""Start of a stage: whether it may start, the objects to create, and what happens if the API server refuses one."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from fusionrun.api.contract import Manifest
from fusionrun.api.stage import StageKind
from fusionrun.api.status.conditions import Reason
from fusionrun.api.status.stages import StageState, StageStatus
from fusionrun.objects.render import render
from fusionrun.plan.pod_settings_digest import pod_settings_digest
from fusionrun.plan.stages import Stage
from fusionrun.state.decide.context import Context, Outcomes, StageOutcome
from fusionrun.state.decide.limits import is_limited
from fusionrun.state.decide.sharing import RECHECK_SECONDS
from fusionrun.state.decide.waits import for_needs, for_server
from fusionrun.state.observe.failures import Failure
from fusionrun.state.observe.live_objects import Refusal
from fusionrun.state.observe.object_fields import format_time
from fusionrun.state.observe.object_ref import ObjectRef, ref_of
from fusionrun.state.observe.pending_pods import PendingPods
from fusionrun.state.report import gate, scores
from fusionrun.state.report.stage_status import DONE, MESSAGE_CHARACTERS, idle

RUN_RETRIED = "started again, because the run was retried"
REFUSED_MAX_SECONDS = 60.0
"""Longest time between two attempts to create a refused object; the time doubles up to this."""
TRANSIENT_FIRST_SECONDS = 1.0
"""Time to the first retry if a request to create an object failed with 429, 5xx or no reply."""


def start(
    context: Context,
    stage: Stage,
    before: Outcomes,
    attempt: int,
    message: str | None = None,
    avoided_nodes: Sequence[str] | None = None,
) -> StageOutcome:
    """Start an attempt of a stage, or return what it waits for; ``message`` is why there is another attempt.

    ``avoided_nodes``: nodes on which earlier attempts failed; None for those in the status of the stage.
    """
    blocked = _blocked(context, stage, before)
    if blocked is not None:
        again = RECHECK_SECONDS if blocked.reason == Reason.WAITING_FOR_ARTIFACT else None
        return StageOutcome(blocked, requeue_seconds=again)
    if is_limited(context, stage) and stage.name != context.in_turn:
        return StageOutcome(waiting(context, stage, Reason.WAITING_FOR_GPUS), queued=True)
    if avoided_nodes is None:
        old = context.previous.get(stage.name)
        avoided_nodes = (old.avoided_nodes or []) if old else []
    objects = objects_of(context, stage, before, attempt, avoided_nodes)
    _refs(context, stage, attempt, lambda: objects)
    for manifest in objects:
        if refusal := context.refused.get(ref_of(manifest)):
            return _refused(context, stage, refusal)
    status = stopped(context, stage, StageState.RUNNING, Reason.PODS_PENDING, message).model_copy(
        update={
            "attempt": attempt or None,
            "retry_time": None,
            "start_time": format_time(context.now),
            "object_ref": f"{objects[-1]['kind']}/{objects[-1]['metadata']['name']}",
            "pod_settings": pod_settings_digest(context.pinned.spec, stage),
        }
    )
    pending = PendingPods(running=False, message=None, since=context.now)
    return StageOutcome(status, create=objects, pending=pending)


def objects_of(
    context: Context, stage: Stage, before: Outcomes, attempt: int, avoided_nodes: Sequence[str] = ()
) -> tuple[Manifest, ...]:
    """Return the objects of an attempt of a stage; the workload is the last one."""
    pinned = context.pinned
    if stage.kind is StageKind.PUBLISH:  # the model card shows the scores
        pinned = replace(
            pinned,
            scores=scores.by_model(before.benchmarks),
            results=before.benchmarks,
            groups=tuple(scores.group_results(pinned.spec, before.benchmarks)),
        )
    return tuple(render(pinned, stage, attempt, context.settings, avoided_nodes))


def refs_of(context: Context, stage: Stage, before: Outcomes, attempt: int) -> tuple[ObjectRef, ...]:
    """Return the references of ``objects_of``: rendered once, since the names depend on no other stage."""
    return _refs(context, stage, attempt, lambda: objects_of(context, stage, before, attempt))


def _refs(
    context: Context, stage: Stage, attempt: int, objects: Callable[[], tuple[Manifest, ...]]
) -> tuple[ObjectRef, ...]:
    known: dict[tuple[str, int], tuple[ObjectRef, ...]] = context.cache.get(
        "objects", (context.pinned, context.settings), dict
    )
    if (stage.name, attempt) not in known:
        known[stage.name, attempt] = tuple(map(ref_of, objects()))
    return known[stage.name, attempt]


def retry_message(context: Context, stage: Stage) -> str | None:
    """Return the message of the first attempt since the run was retried; None if it was not."""
    return RUN_RETRIED if context.first_attempt(stage) else None


def is_ready(context: Context, stage: Stage, before: Outcomes) -> bool:
    """Return whether every stage that a stage needs is done."""
    if context.needed is None and stage.kind is not StageKind.RESOLVE:
        return False
    return all(before.state(name) in DONE for name in stage.needs)


def missed_gates(context: Context, before: Outcomes) -> str:
    """Return why the model must not be published; empty if it may be."""
    publish = context.pinned.spec.publish
    if publish is None or publish.even_if_gate_failed:
        return ""
    return "; ".join(gate.gate_failures(context.pinned.spec.evaluation, before.benchmarks))[:MESSAGE_CHARACTERS]


def stopped(
    context: Context, stage: Stage, state: StageState, reason: Reason | None = None, message: str | None = None
) -> StageStatus:
    """Return the status of a stage without running pods."""
    return idle(stage, context.previous.get(stage.name), state, reason, message)


def waiting(context: Context, stage: Stage, reason: Reason, message: str = "") -> StageStatus:
    """Return the status of a stage that waits."""
    return stopped(context, stage, StageState.WAITING, reason, message)


def _blocked(context: Context, stage: Stage, before: Outcomes) -> StageStatus | None:
    """Return the status of a stage that may not start now; None if it may."""
    if not is_ready(context, stage, before):
        return stopped(context, stage, StageState.PENDING, message=for_needs(context, stage, before))
    if text := context.held_back.get(stage.name):
        return waiting(context, stage, Reason.WAITING_FOR_ARTIFACT, text)
    client = context.pinned.plan.client_of(stage) if stage.traits.is_server else stage
    for missing in context.missing:
        if missing.blocks(stage) or missing.blocks(client):
            return waiting(context, stage, missing.reason, missing.message)
    if stage.server and before.state(stage.server) is not StageState.READY:
        if before.state(stage.server) in DONE:
            return None
        return waiting(context, stage, Reason.WAITING_FOR_SERVER, for_server(stage.server, before))
    return None


def _refused(context: Context, stage: Stage, refusal: Refusal) -> StageOutcome:
    """Fail a stage whose object is invalid. If the refusal is temporary, for example by a quota, the stage waits."""
    text = refusal.message
    if refusal.is_permanent:
        status = stopped(context, stage, StageState.FAILED, Reason.OBJECT_REFUSED, text)
        return StageOutcome(status, failure=Failure(Reason.OBJECT_REFUSED, text))
    old = context.previous.get(stage.name)
    since = (old.start_time if old and old.reason == Reason.OBJECT_REFUSED else None) or format_time(context.now)
    waited = (context.now - datetime.fromisoformat(since)).total_seconds()
    first = TRANSIENT_FIRST_SECONDS if refusal.transient else context.settings.missing_seconds
    status = waiting(context, stage, Reason.OBJECT_REFUSED, text).model_copy(update={"start_time": since})
    return StageOutcome(status, requeue_seconds=min(max(waited, first), REFUSED_MAX_SECONDS))
