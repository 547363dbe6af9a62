"""Objects that must exist in the cluster before the stages of a run can start, and the messages if they do not."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from fusionrun.api.contract import Manifest
from fusionrun.api.spec.pods import PodSettings
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.spec.scheduling import Scheduling
from fusionrun.api.spec.training import Backend
from fusionrun.api.status.conditions import Reason
from fusionrun.objects import server_key
from fusionrun.plan.credentials import credentials
from fusionrun.plan.defaults import fill
from fusionrun.plan.gpus import gpu_limits, gpus_of
from fusionrun.plan.kinds import Workload
from fusionrun.plan.pinned import Run
from fusionrun.plan.pods import RUN_WIDE, part_field, parts
from fusionrun.plan.policy import runs_programs
from fusionrun.plan.servers import all_servers
from fusionrun.plan.stages import Plan, Stage
from fusionrun.settings import Accelerators, Settings
from fusionrun.state.observe.backends import NEEDED, POD_GROUP_CRDS, needed_for, recorded_backend
from fusionrun.state.observe.missing_secrets import MissingSecret
from fusionrun.state.observe.object_ref import ObjectRef

INSTALL = {
    Backend.PYTORCH_JOB: "install the Kubeflow training operator (v1.9)",
    Backend.TRAIN_JOB: "install Kubeflow Trainer (v2.3) and JobSet (v0.11)",
}
"""What to do if the cluster does not have what a backend needs."""

KUEUE_GROUP = "kueue.x-k8s.io"
"""API group of Kueue. References to its objects have no version: the client uses one that the cluster serves."""
KUEUE = ObjectRef(KUEUE_GROUP, "APIGroup", "", KUEUE_GROUP)
"""The API group of Kueue itself, as the discovery API lists it."""

IN_DISCOVERY = ("APIGroup", "CustomResourceDefinition")
"""Kinds of prerequisites that the discovery API answers, which needs no right: is a group, or a kind, served?"""

Selector = Callable[[Stage], bool]
"""Returns whether a stage cannot start without a prerequisite."""


def every_stage(_: Stage) -> bool:
    """Return True: every stage waits."""
    return True


@dataclass(frozen=True)
class Missing:
    """A prerequisite that does not exist. The run waits for it and never fails because of it."""

    reason: Reason
    message: str
    blocks: Selector = every_stage


def prerequisites(run: Manifest) -> tuple[ObjectRef, ...]:
    """Return the objects that a run needs and does not create itself.

    There are none for a run whose spec is invalid: ``decide`` reports why.
    """
    try:
        spec = fill(FusionRunSpec.model_validate(run["spec"]))
    except ValidationError:
        return ()
    backend = recorded_backend(run) or spec.training.backend
    required = (ref for ref, _ in _required(run["metadata"]["namespace"], spec))
    needed = () if spec.evaluate_only else needed_for(backend)
    return tuple(dict.fromkeys([*required, *needed]))


def missing(namespace: str, spec: FusionRunSpec, present: dict[ObjectRef, bool]) -> tuple[Missing, ...]:
    """Return the prerequisites that do not exist. One that was not looked up does not count as missing."""
    return tuple(absent for ref, absent in _required(namespace, spec) if not present.get(ref, True))


def over_budget(plan: Plan, spec: FusionRunSpec, accelerators: Accelerators) -> tuple[Missing, ...]:
    """Return the first stage that needs more GPUs than ``gpuBudget``, which can be raised."""
    budget = spec.scheduling.gpu_budget
    for stage in plan.stages:
        gpus = round(gpus_of(stage.devices, accelerators) * stage.pods, 2)
        if budget is not None and gpus > budget:
            text = (
                f"spec.scheduling.gpuBudget: {budget}: stage {stage.name} needs {gpus:g} GPUs at once: "
                "raise the budget; the run then continues"
            )
            return (Missing(Reason.WAITING_FOR_GPUS, text),)
    return ()


def secret_text(run: Run, secret: MissingSecret, settings: Settings) -> str | None:
    """Return what to do about a Secret that a pod waits for; None if a new pod of the stage would not wait for it."""
    if secret.name == server_key.secret_name(run):
        return _server_key_text(run, secret, settings)
    found = [c for c in credentials(run.spec) if c.name == secret.name and secret.key in (None, *c.keys)]
    if not found:
        return None
    fields = " and ".join(f"spec.{c.field}" for c in found)
    if secret.key is not None:
        return f"{fields}: {secret.name!r}: the Secret in namespace {run.namespace!r} has no key {secret.key!r}: add it"
    keys = list(dict.fromkeys(key for c in found for key in c.keys))
    listed = f" with key {keys[0]!r}" if len(keys) == 1 else f" with keys {' and '.join(keys)}" if keys else ""
    return f"{fields}: {secret.name!r}: no such Secret in namespace {run.namespace!r}: create it{listed}"


def _server_key_text(run: Run, secret: MissingSecret, settings: Settings) -> str | None:
    place = f"Secret {secret.name} in namespace {run.namespace!r}, the API key of the run's model servers"
    if secret.key is not None:
        return f"{place}, has no key {secret.key!r}: delete the Secret; the operator then creates it again"
    if not settings.server_key:
        return f"{place}, does not exist, and the operator has no key to make it: set serverKey.enabled of the chart"
    return None  # it is created with the next pod


def _required(namespace: str, spec: FusionRunSpec) -> Iterator[tuple[ObjectRef, Missing]]:
    """Yield each prerequisite, with its message if it does not exist."""
    claim = ObjectRef("v1", "PersistentVolumeClaim", namespace, spec.storage.claim_name)
    advice = "create it; the run then continues"
    yield _absent(claim, Reason.CLAIM_MISSING, "spec.storage.claimName", advice)
    yield from _training(spec)
    yield from _scheduling(namespace, spec)


def _training(spec: FusionRunSpec) -> Iterator[tuple[ObjectRef, Missing]]:
    """Yield what the backend of training needs. ``Auto`` is no backend yet: it chooses one that the cluster serves."""
    backend, gang = spec.training.backend, spec.training.gang
    for ref in NEEDED.get(backend, ()):
        text = (
            f"spec.training.backend: {backend.value!r}: the cluster has no such kind (CRD {ref.name}): "
            f"{INSTALL[backend]}; the run then continues"
        )
        yield ref, Missing(Reason.TRAINING_OPERATOR_MISSING, text, _trains)
    if gang is not None:
        ref = POD_GROUP_CRDS[gang.scheduler]
        text = (
            f"spec.training.gang.scheduler: {gang.scheduler.value!r}: the cluster has no PodGroup of it (CRD "
            f"{ref.name}): install it; the run then continues"
        )
        yield ref, Missing(Reason.GANG_SCHEDULER_MISSING, text, _trains)


def _trains(stage: Stage) -> bool:
    return stage.backend is not None


def _absent(
    ref: ObjectRef, reason: Reason, field: str, advice: str, blocks: Selector = every_stage
) -> tuple[ObjectRef, Missing]:
    place = f"namespace {ref.namespace!r}" if ref.namespace else "the cluster"
    return ref, Missing(reason, f"{field}: {ref.name!r}: no such {ref.kind} in {place}: {advice}", blocks)


def _runs_as(workload: Workload) -> Selector:
    return lambda stage: stage.traits.workload is workload


def _scheduling(namespace: str, spec: FusionRunSpec) -> Iterator[tuple[ObjectRef, Missing]]:
    scheduling = spec.scheduling
    sandbox_class = scheduling.sandbox_runtime_class_name if runs_programs(spec) else None
    gpu_class = scheduling.gpu_runtime_class_name if _uses_gpus(spec) else None
    runtime, priority = ("node.k8s.io/v1", "RuntimeClass"), ("scheduling.k8s.io/v1", "PriorityClass")
    advice, sandboxed = "create it, or change the field", _runs_as(Workload.SANDBOX_JOB)
    for field, name, (api_version, kind), reason, blocks in (
        ("sandboxRuntimeClassName", sandbox_class, runtime, Reason.RUNTIME_CLASS_MISSING, sandboxed),
        ("gpuRuntimeClassName", gpu_class, runtime, Reason.RUNTIME_CLASS_MISSING, lambda stage: stage.gpus > 0),
    ):
        if name:
            yield _absent(ObjectRef(api_version, kind, "", name), reason, f"spec.scheduling.{field}", advice, blocks)
    for part in parts(spec):
        blocks = every_stage if part.field == RUN_WIDE else _in_part(part.field)
        if name := part.settings.priority_class_name:
            field = f"spec.{part.field}.priorityClassName"
            yield _absent(ObjectRef(*priority, "", name), Reason.PRIORITY_CLASS_MISSING, field, advice, blocks)
        if isinstance(part.settings, PodSettings) and (name := part.settings.runtime_class_name):
            field = f"spec.{part.field}.runtimeClassName"
            yield _absent(ObjectRef(*runtime, "", name), Reason.RUNTIME_CLASS_MISSING, field, advice, blocks)
    yield from _queues(namespace, scheduling)


def _queues(namespace: str, scheduling: Scheduling) -> Iterator[tuple[ObjectRef, Missing]]:
    """Yield the LocalQueues and the WorkloadPriorityClass, after the API group of Kueue."""
    advice, queues = "create it, or change the field", (scheduling.queue_name, scheduling.cpu_queue_name)
    for field, queue in zip(("queueName", "cpuQueueName"), queues, strict=True):
        if queue:
            text = (
                f"spec.scheduling.{field}: {queue!r}: the cluster does not serve the API group {KUEUE_GROUP}: "
                f"install Kueue, or remove spec.scheduling.{field}"
            )
            yield KUEUE, Missing(Reason.KUEUE_MISSING, text)
            local_queue = ObjectRef(KUEUE_GROUP, "LocalQueue", namespace, queue)
            yield _absent(local_queue, Reason.LOCAL_QUEUE_MISSING, f"spec.scheduling.{field}", advice)
    if any(queues) and (name := scheduling.workload_priority_class_name):
        priority = ObjectRef(KUEUE_GROUP, "WorkloadPriorityClass", "", name)
        field = "spec.scheduling.workloadPriorityClassName"
        yield _absent(priority, Reason.PRIORITY_CLASS_MISSING, field, advice)


def _in_part(field: str) -> Selector:
    return lambda stage: part_field(stage) == field


def _uses_gpus(spec: FusionRunSpec) -> bool:
    servers = (server.settings.resources for server in all_servers(spec))
    resources = [spec.training.resources, spec.reward_model.resources, *servers]
    # By name only: the checks of the spec report a count that is not a whole number.
    return any(gpu_limits(each.limits) for each in resources if each)
