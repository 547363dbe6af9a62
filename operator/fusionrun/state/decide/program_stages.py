"""The decision on a stage that runs to completion: a Job, a PyTorchJob or a TrainJob."""

from dataclasses import replace
from datetime import timedelta

from fusionrun.api.stage import StageKind
from fusionrun.api.status.conditions import Reason
from fusionrun.api.status.results import BenchmarkResult
from fusionrun.api.status.stages import StageState
from fusionrun.api.tasks.evaluation import CompareParameters, EvaluateParameters
from fusionrun.plan.families.evaluation import evaluated_models
from fusionrun.plan.kinds import Report
from fusionrun.plan.stages import Stage, model_name
from fusionrun.plan.tasks import build_task
from fusionrun.state.decide.attempts import (
    NO_POD_LEFT,
    failed,
    running,
    server_stalled,
    server_unavailable,
    status_of,
)
from fusionrun.state.decide.context import Context, Outcomes, StageOutcome
from fusionrun.state.decide.next_attempt import awaiting_deletion, retry, still_backing_off, why
from fusionrun.state.decide.retries import attempt_to_start, failed_on_one_node
from fusionrun.state.decide.start import start, waiting
from fusionrun.state.decide.work import measure
from fusionrun.state.observe.deleted_pods import deleted_pod
from fusionrun.state.observe.failures import Failure, disruptions
from fusionrun.state.observe.late_workloads import LATE_SECONDS, seem_to_exist
from fusionrun.state.observe.object_fields import ended_containers, pod_phase
from fusionrun.state.observe.workloads import Phase, Workload
from fusionrun.state.report import results, scores
from fusionrun.state.report.stage_status import running_numbers

RESULT_GRACE = timedelta(seconds=2)
"""Time for which the watch of pods may lag behind that of Jobs before the pods of an ended Job are listed.

This is not a timeout for results: a result counts as lost only after the pods were listed.
"""
SERVER_UNAVAILABLE = (
    "stopped because its server was not Ready: it restarts when the server is Ready; finished responses are kept"
)
NO_RESULT = "the stage ended, but its pods were deleted before their results were read"
SHOWN_CHARACTERS = 100
"""Start of a termination message in the message of a stage."""
SERVER_RESTARTED = "its server starts again: it restarts when the server is Ready; finished responses are kept"


def decide_program(context: Context, stage: Stage, before: Outcomes) -> StageOutcome:
    """Decide on a stage that is not a server."""
    outcome, observed = _decide(context, stage, before), context.observed_stage(stage)
    if observed.latest is None or not stage.traits.retried_by_operator:
        return outcome
    # The attempt that is being created replaces the latest one.
    earlier = observed.before(observed.latest.attempt + bool(outcome.create)).running_objects
    return replace(outcome, delete=tuple(dict.fromkeys((*outcome.delete, *earlier))))


def _decide(context: Context, stage: Stage, before: Outcomes) -> StageOutcome:
    workload, old = context.observed_stage(stage).latest, context.previous.get(stage.name)
    # The last attempt may be gone: the operator deletes one with a deleted pod, and somebody else may delete any.
    if workload is None or (workload.phase is Phase.FAILED and old and (old.attempt or 0) > workload.attempt):
        first = _first_attempt(context, stage)
        return still_backing_off(context, stage) or start(context, stage, before, first, why(context, stage))
    if workload.phase is Phase.TERMINATING or _has_failed(context, stage, workload):
        outcome = replace(awaiting_deletion(context, stage), delete=(workload.ref,) if workload.active else ())
        return _read_if_late(outcome, workload)
    if workload.phase is Phase.SUCCEEDED:
        return _succeeded(context, stage, before, workload)
    if stage.traits.retried_by_operator and (failure := deleted_pod(workload)):
        return _pod_deleted(context, stage, before, replace(workload, failure=failure))
    if workload.phase is Phase.FAILED or workload.failure:
        return _failed(context, stage, before, workload)
    return _running(context, stage, before, workload)


def _has_failed(context: Context, stage: Stage, workload: Workload) -> bool:
    """Return whether the failure of an attempt of training that seems to run is in the status already.

    The operator has written the status and could not delete the attempt, whose deleted pod may have been replaced; or
    its controller lets it run again.
    """
    return workload.active and stage.traits.retried_by_operator and _waits_for_next(context, stage, workload)


def _waits_for_next(context: Context, stage: Stage, workload: Workload) -> bool:
    """Return whether the status says already that an attempt has failed, and when the next one is due."""
    old = context.previous.get(stage.name)
    return old is not None and old.retry_time is not None and (old.attempt or 0) == workload.attempt


def _first_attempt(context: Context, stage: Stage) -> int:
    """Return the attempt to start if there is no workload: that of its server, whose address contains it."""
    first = context.first_attempt(stage)
    if stage.server:
        server = context.observed.stage(stage.server).latest
        return max(first, server.attempt if server else 0)
    return max(first, attempt_to_start(context.previous.get(stage.name)))


def _running(context: Context, stage: Stage, before: Outcomes, workload: Workload) -> StageOutcome:
    if stage.server and workload.active and workload.attempt < (before.stages[stage.server].status.attempt or 0):
        status = waiting(context, stage, Reason.WAITING_FOR_SERVER, SERVER_RESTARTED)
        return StageOutcome(status, delete=(workload.ref,))  # it calls the address of the server before
    numbers = running_numbers(stage, context.observed_stage(stage), workload, context.now)
    failed_indexes, what = workload.failed_shards, "pods" if stage.shares_shards else "shards"
    text = f"{what} {failed_indexes} failed for good: the stage fails when the others have ended"
    outcome = running(context, stage, workload, text if failed_indexes else None)
    if count := disruptions(workload.pods):
        numbers["disruptions"] = max(count, outcome.status.disruptions or 0)
    # Pods push the cost of all stored responses. After a restart, not all of them have pushed.
    cost = max(outcome.status.cost_micro or 0, numbers["cost_micro"] or 0) or None
    outcome = replace(outcome, status=outcome.status.model_copy(update=numbers | {"cost_micro": cost}))
    return _read_if_late(outcome, workload)


def _read_if_late(outcome: StageOutcome, workload: Workload) -> StageOutcome:
    """Return the outcome, with another reconcile soon if that reads the workload (``cluster.late_workloads``)."""
    if seem_to_exist((workload.manifest, *workload.pods)):
        return replace(outcome, requeue_seconds=min(outcome.requeue_seconds or LATE_SECONDS, LATE_SECONDS))
    return outcome


def _awaiting_pods(context: Context, stage: Stage, before: Outcomes, workload: Workload) -> StageOutcome | None:
    """Return the outcome of an ended workload until its pods have been listed; None after that.

    Pods and workloads are watched separately, and one watch may lag far behind the other. An attempt whose failure is
    in the status was listed before.
    """
    if workload.ref in context.pods_listed or _waits_for_next(context, stage, workload):
        return None
    outcome = _running(context, stage, before, workload)
    late = context.now - workload.ended if workload.ended else RESULT_GRACE
    if timedelta(0) <= late < RESULT_GRACE:
        return replace(outcome, requeue_seconds=(RESULT_GRACE - late).total_seconds())
    return replace(outcome, list_pods=(workload.ref,))


def _succeeded(context: Context, stage: Stage, before: Outcomes, workload: Workload) -> StageOutcome:
    pods = workload.results
    if len(pods) < stage.completions and (outcome := _awaiting_pods(context, stage, before, workload)):
        return outcome
    if _lacks_result(context, stage, workload):
        lost = Failure(Reason.INFRASTRUCTURE_ERROR, _why_no_result(workload))
        if outcome := retry(context, stage, before, workload, lost, lost.message):
            return outcome
        if stage.traits.report is not Report.DATASET:  # no stage depends on its numbers
            return failed(context, stage, workload, lost)
    ended = workload.ended or context.now
    status = status_of(context, stage, workload, StageState.SUCCEEDED, Reason.SUCCEEDED, ended)
    numbers = results.final_numbers(pods) | {"work": measure(context, stage, workload, ended)}
    cost = numbers["cost_micro"] or status.cost_micro
    outcome = StageOutcome(status.model_copy(update=numbers | {"cost_micro": cost}))
    if stage.traits.report is Report.DATASET:
        return replace(outcome, dataset=results.dataset_summary(pods, context.pinned.spec))
    return replace(outcome, benchmarks=_benchmarks(context, stage, before, workload))


def _benchmarks(
    context: Context, stage: Stage, before: Outcomes, workload: Workload
) -> tuple[BenchmarkResult, ...] | None:
    """Return the scores with those that a stage has measured; None if it measures none."""
    if stage.kind not in (StageKind.EVALUATE, StageKind.COMPARE):
        return None
    evaluation, pods = context.pinned.spec.evaluation, workload.results
    match build_task(context.pinned, stage).parameters:
        case EvaluateParameters(model=model, benchmarks=benchmarks, judge=judge):
            models = [model_name(each) for each in evaluated_models(context.pinned.spec)]
            return tuple(scores.with_scores(before.benchmarks, evaluation, model, pods, benchmarks, judge, models))
        case CompareParameters(pairs=pairs):
            return tuple(scores.with_differences(before.benchmarks, pairs, pods))
        case _:
            return None


def _lacks_result(context: Context, stage: Stage, workload: Workload) -> bool:
    """Return whether a required result is lost. A retry reads it from the stage's manifest, without more work."""
    if stage.kind is StageKind.RESOLVE:
        return context.needed is None
    return stage.traits.report is not None and not workload.results


def _why_no_result(workload: Workload) -> str:
    for pod in workload.pods:
        if pod_phase(pod) == "Succeeded":
            text = "".join(terminated.get("message") or "" for terminated in ended_containers(pod))
            return (
                f"pod {pod['metadata']['name']} succeeded, but its termination message is not a result: "
                f"{text[:SHOWN_CHARACTERS]!r}; the image of the stage must be of the same release as the operator"
            )
    return NO_RESULT


def _pod_deleted(context: Context, stage: Stage, before: Outcomes, workload: Workload) -> StageOutcome:
    """Restart all pods of a training of which one was deleted, unless its own controller did it."""
    if workload.ref not in context.pods_listed:
        return replace(_running(context, stage, before, workload), list_pods=(workload.ref,))
    outcome = _failed(context, stage, before, workload)
    return replace(outcome, delete=(*outcome.delete, workload.ref))


def _failed(context: Context, stage: Stage, before: Outcomes, workload: Workload) -> StageOutcome:
    failure = workload.failure
    if failure is None and (outcome := _awaiting_pods(context, stage, before, workload)):
        return outcome
    if stage.server and server_unavailable(context, stage, workload):
        status = waiting(context, stage, Reason.WAITING_FOR_SERVER, SERVER_UNAVAILABLE)
        return StageOutcome(status, delete=(workload.ref,))
    # The pods of a training are only deleted by somebody else; a Job itself deletes none of its own.
    deleted = stage.traits.retried_by_operator
    failure = failure or Failure(Reason.INFRASTRUCTURE_ERROR, NO_POD_LEFT, disrupted=deleted)
    # A Job retries its pods itself. It also counts pods that the kubelet rejects, and does not know their nodes.
    if (
        stage.traits.retried_by_operator
        or failure.disrupted
        or server_stalled(context, stage, workload)
        or failed_on_one_node(context, stage, workload)
    ):
        outcome = retry(context, stage, before, workload, failure)
        if outcome:
            return outcome
    return failed(context, stage, workload, failure)
