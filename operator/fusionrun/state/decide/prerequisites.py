"""Objects that must exist in the cluster before the stages of a run can start, and the messages if they do not."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from fusionrun.api.models import Manifest
from fusionrun.api.spec import FusionRunSpec
from fusionrun.api.status import Reason
from fusionrun.objects import server_key
from fusionrun.plan.credentials import credentials
from fusionrun.plan.defaults import fill
from fusionrun.plan.gpus import gpu_limits, gpus_of
from fusionrun.plan.kinds import Workload
from fusionrun.plan.pinned import Run
from fusionrun.plan.policy import runs_programs
from fusionrun.plan.stages import Plan, Stage
from fusionrun.settings import Accelerators, Settings
from fusionrun.state.observe.missing_secrets import MissingSecret
from fusionrun.state.observe.object_ref import ObjectRef

PYTORCHJOB_CRD = ObjectRef("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "pytorchjobs.kubeflow.org")

KUEUE_GROUP = "kueue.x-k8s.io"
"""API group of Kueue. References to its objects have no version: the client uses one that the cluster serves."""
KUEUE = ObjectRef(KUEUE_GROUP, "APIGroup", "", KUEUE_GROUP)
"""The API group of Kueue itself, as the discovery API lists it."""

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
    return tuple(ref for ref, _ in _required(run["metadata"]["namespace"], spec))


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
    listed = f"key {keys[0]!r}" if len(keys) == 1 else f"keys {' and '.join(keys)}"
    return f"{fields}: {secret.name!r}: no such Secret in namespace {run.namespace!r}: create it with {listed}"


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
    text = (
        "spec.training.backend: 'PyTorchJob': the cluster has no such kind: "
        "install the Kubeflow training operator (v1.9); the run then continues"
    )
    uses_pytorchjob = _runs_as(Workload.PYTORCH_JOB)
    yield PYTORCHJOB_CRD, Missing(Reason.TRAINING_OPERATOR_MISSING, text, uses_pytorchjob)
    yield from _scheduling(namespace, spec)


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
        ("priorityClassName", scheduling.priority_class_name, priority, Reason.PRIORITY_CLASS_MISSING, every_stage),
    ):
        if name:
            yield _absent(ObjectRef(api_version, kind, "", name), reason, f"spec.scheduling.{field}", advice, blocks)
    if queue := scheduling.queue_name:
        text = (
            f"spec.scheduling.queueName: {queue!r}: the cluster does not serve the API group {KUEUE_GROUP}: "
            "install Kueue, or remove spec.scheduling.queueName"
        )
        yield KUEUE, Missing(Reason.KUEUE_MISSING, text)
        local_queue = ObjectRef(KUEUE_GROUP, "LocalQueue", namespace, queue)
        yield _absent(local_queue, Reason.LOCAL_QUEUE_MISSING, "spec.scheduling.queueName", advice)


def _uses_gpus(spec: FusionRunSpec) -> bool:
    servers = [*(source.served for source in spec.sources), spec.evaluation.server]
    resources = [spec.training.resources, spec.reward_model.resources, *(s.resources for s in servers if s)]
    # By name only: the checks of the spec report a count that is not a whole number.
    return any(gpu_limits(each.limits) for each in resources if each)
