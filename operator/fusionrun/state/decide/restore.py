"""Objects of a running stage that somebody else deleted, scaled or changed: created again, or reported.

No object is updated. A changed one is deleted, and the next decision creates it again; only an object that is older
than ``RESTORE_AFTER`` is, so that a tool that changes it each time causes little work.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from fusionrun import names
from fusionrun.api.contract import Manifest
from fusionrun.api.stage import StageKind
from fusionrun.api.status.conditions import Reason
from fusionrun.api.status.stages import StageState
from fusionrun.api.tasks.task import task_digest
from fusionrun.objects.deployment import PORT
from fusionrun.plan.stages import Stage
from fusionrun.plan.tasks import served_model
from fusionrun.state.decide.attempts import settings_changed
from fusionrun.state.decide.context import Context, Outcomes, StageOutcome
from fusionrun.state.decide.start import objects_of, refs_of, waiting
from fusionrun.state.observe.object_fields import format_time, is_deleting, parse_time, pod_phase
from fusionrun.state.observe.object_ref import ObjectRef, ref_of
from fusionrun.state.observe.pending_pods import PendingPods
from fusionrun.state.observe.workloads import Workload
from fusionrun.state.report.events import Event
from fusionrun.state.report.stage_status import ACTIVE, MESSAGE_CHARACTERS

RESTORE_AFTER = timedelta(minutes=10)
"""Age from which a changed object is deleted and created again."""
REFUSED_SECONDS = 30.0
"""Time to the next attempt to create an object that the API server refused."""
EXCLUDE = "exclude it from the tool that does this, or suspend the run with spec.suspend"


def restore(context: Context, stage: Stage, before: Outcomes, outcome: StageOutcome) -> StageOutcome:
    """Return the decision on a stage with what its running workload needs to be as it was created."""
    workload = context.observed_stage(stage).latest
    if workload is None or not workload.active or outcome.status.state not in ACTIVE:
        return outcome
    # The objects of a stage depend on the result of resolve.
    if outcome.create or outcome.delete or (context.needed is None and stage.kind is not StageKind.RESOLVE):
        return outcome
    if workload.is_server:
        if stopped := _stopped_server(context, workload, outcome):
            return stopped
        outcome = _changed_server(context, stage, workload, outcome)
    return _missing_objects(context, stage, before, workload, outcome)


def _missing_objects(
    context: Context, stage: Stage, before: Outcomes, workload: Workload, outcome: StageOutcome
) -> StageOutcome:
    *others, same = refs_of(context, stage, before, workload.attempt)
    if same != workload.ref:  # another release renders this stage in another way
        return outcome
    rendered: dict[ObjectRef, Manifest] = {}
    for ref in others:
        if (generation := context.observed.generations.get(ref)) is not None:
            # The API server counts the changes of a policy's spec. A Secret or ConfigMap cannot be changed.
            if ref.kind == "NetworkPolicy" and generation > 1:
                text = f"NetworkPolicy {ref.name} was changed: delete it to have it created again"
                outcome = _changed(context, outcome, text)
            continue
        if not _is_restored(context, ref.kind):
            continue
        rendered = rendered or {ref_of(m): m for m in objects_of(context, stage, before, workload.attempt)}
        manifest = rendered[ref]
        text = f"{ref.kind} {ref.name} was deleted"
        if refusal := context.refused.get(ref):
            outcome = _with_message(outcome, f"{text} and cannot be created: {refusal.message}")
            outcome = replace(outcome, requeue_seconds=REFUSED_SECONDS)
        elif ref.kind == "ConfigMap" and not _is_task_of(workload, manifest):
            text += ", and this release of the operator makes another task"
            if _waits(workload):
                status = waiting(context, stage, Reason.OBJECT_RESTORED, f"{text}: the stage starts again")
                return StageOutcome(status, delete=(workload.ref,))
            outcome = _with_message(outcome, f"{text}: the stage starts again if it needs another pod")
        else:
            restored = _for_pods_of(workload, manifest) if ref.kind == "Service" and workload.is_server else manifest
            event = Event("Warning", Reason.OBJECT_RESTORED, f"{text}; the operator creates it again")
            outcome = replace(outcome, create=(*outcome.create, restored), events=(*outcome.events, event))
    return outcome


def _is_restored(context: Context, kind: str) -> bool:
    """Return whether an object is created again when it does not exist.

    Secrets cannot be read, and the kubelet reports missing ones. A run that 0.2.0 accepted has no features; it gets its
    NetworkPolicies with the next stage.
    """
    return kind != "Secret" and (kind != "NetworkPolicy" or bool(context.pinned.features))


def _is_task_of(workload: Workload, config_map: Manifest) -> bool:
    """Return whether a ConfigMap has the task of a workload; releases up to 0.2.0 did not record its digest."""
    recorded = (workload.manifest["metadata"].get("annotations") or {}).get(names.ANNOTATION_TASK)
    return recorded in (None, task_digest(config_map["data"]["task.json"].encode()))


def _waits(workload: Workload) -> bool:
    """Return whether a workload has a pod that does not run yet, or none."""
    phases = {pod_phase(pod) for pod in workload.pods}
    return not phases or bool(phases & {"Pending", ""})


def _for_pods_of(workload: Workload, service: Manifest) -> Manifest:
    """Return a Service for the pods of a Deployment, which another release may have labelled in another way."""
    selector = ((workload.manifest["spec"].get("selector") or {}).get("matchLabels")) or service["spec"]["selector"]
    return service | {"spec": service["spec"] | {"selector": selector}}


def _stopped_server(context: Context, workload: Workload, outcome: StageOutcome) -> StageOutcome | None:
    """Return the decision on a server that cannot work because its Deployment or its Service was changed."""
    deployment = workload.manifest
    if _replicas(deployment) == 0:
        text = f"Deployment {deployment['metadata']['name']} was scaled to 0 replicas: {EXCLUDE}"
        return _again(context, outcome, deployment, text)
    for service in _changed_services(context, outcome.status.name, workload):
        text = f"Service {service['metadata']['name']} was changed and does not select the pods of its server"
        return _again(context, outcome, service, text)
    return None


def _changed_server(context: Context, stage: Stage, workload: Workload, outcome: StageOutcome) -> StageOutcome:
    """Report a change of a Deployment that still works."""
    metadata, replicas = workload.manifest["metadata"], _replicas(workload.manifest)
    old = context.previous.get(stage.name)
    # A server keeps the replicas that the spec had when it started.
    is_comparable = old is not None and old.pod_settings is not None and not settings_changed(context, stage)
    wanted = served_model(context.pinned, stage).settings.replicas
    if int((metadata.get("annotations") or {}).get(names.ANNOTATION_REVISION, "1")) > 1:
        what = "was changed (its pod template)"
    elif is_comparable and replicas != wanted:
        what = f"was scaled ({replicas} replicas, not {wanted})"
    else:
        return outcome
    text = f"Deployment {metadata['name']} {what}: delete it to have it created again"
    return _changed(context, outcome, text)


def _replicas(deployment: Manifest) -> int:
    return int(deployment["spec"].get("replicas", 1))


def _changed_services(context: Context, stage: str, workload: Workload) -> Iterable[Manifest]:
    labels = (workload.manifest["spec"].get("selector") or {}).get("matchLabels")
    for service in context.observed.stage(stage).services:
        if service["metadata"]["name"] != workload.ref.name or is_deleting(service):
            continue
        spec = service.get("spec") or {}
        ports = [(p.get("port"), p.get("targetPort")) for p in spec.get("ports") or []]
        if spec.get("selector") != labels or (PORT, "http") not in ports:
            yield service


def _again(context: Context, outcome: StageOutcome, manifest: Manifest, text: str) -> StageOutcome:
    """Delete an object that was changed, so that the next decision creates it again, unless it is new.

    The server keeps its place in ``gpuBudget`` and ``maxServers``, and no client starts.
    """
    created = parse_time(manifest["metadata"].get("creationTimestamp")) or context.now
    left = (created + RESTORE_AFTER - context.now).total_seconds()
    text += f"; the operator creates it again{'' if left <= 0 else f' at {format_time(created + RESTORE_AFTER)}'}"
    update = {"state": StageState.RUNNING, "reason": Reason.OBJECT_CHANGED, "message": text[:MESSAGE_CHARACTERS]}
    outcome = replace(
        outcome,
        status=outcome.status.model_copy(update=update),
        events=_new_event(context, outcome, text),
        pending=PendingPods(running=False, message=text, since=created, reason=Reason.OBJECT_CHANGED),
    )
    return replace(outcome, delete=(ref_of(manifest),)) if left <= 0 else replace(outcome, requeue_seconds=left)


def _changed(context: Context, outcome: StageOutcome, text: str) -> StageOutcome:
    """Report a change that does not stop the stage."""
    events = (*outcome.events, *_new_event(context, outcome, text))
    if outcome.status.state is StageState.READY:
        status = outcome.status.model_copy(update={"reason": Reason.OBJECT_CHANGED})
        outcome = replace(outcome, status=status)
    return _with_message(replace(outcome, events=events), text)


def _new_event(context: Context, outcome: StageOutcome, text: str) -> tuple[Event, ...]:
    """Return a Warning event, unless the status of the stage says the same already."""
    old = context.previous.get(outcome.status.name)
    known = old is not None and text in (old.message or "")
    return () if known else (Event("Warning", Reason.OBJECT_CHANGED, text),)


def _with_message(outcome: StageOutcome, text: str) -> StageOutcome:
    """Append to the message of a stage, which may say what its pods wait for."""
    old = outcome.status.message
    message = f"{old}; {text}" if old else text
    return replace(outcome, status=outcome.status.model_copy(update={"message": message[:MESSAGE_CHARACTERS]}))
