"""Objects that must exist in the cluster before the stages of a run can start, and the messages if they do not."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from fusionrun.api.data import Grader, Task
from fusionrun.api.models import Manifest, SecretKeyRef, SecretRef, Source
from fusionrun.api.spec import FusionRunSpec
from fusionrun.api.stage import StageKind
from fusionrun.api.status import Reason
from fusionrun.objects.meta import S3_KEYS
from fusionrun.plan.defaults import fill
from fusionrun.plan.gpus import gpu_limits
from fusionrun.plan.kinds import HubAccess, Workload
from fusionrun.plan.stages import Plan, Stage
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


def over_budget(plan: Plan, spec: FusionRunSpec) -> tuple[Missing, ...]:
    """Return the first stage that needs more GPUs than ``gpuBudget``, which can be raised."""
    budget = spec.scheduling.gpu_budget
    for stage in plan.stages:
        if budget is not None and stage.gpus > budget:
            text = (
                f"spec.scheduling.gpuBudget: {budget}: stage {stage.name} needs {stage.gpus} GPUs at once: "
                "raise the budget; the run then continues"
            )
            return (Missing(Reason.WAITING_FOR_GPUS, text),)
    return ()


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
    for field, secret, blocks in _secrets(spec):
        keys = f"key {secret.key!r}" if isinstance(secret, SecretKeyRef) else f"keys {' and '.join(S3_KEYS)}"
        ref = ObjectRef("v1", "Secret", namespace, secret.name)
        yield _absent(ref, Reason.SECRET_MISSING, field, f"create it with {keys}", blocks)
    yield from _scheduling(namespace, spec)


def _absent(
    ref: ObjectRef, reason: Reason, field: str, advice: str, blocks: Selector = every_stage
) -> tuple[ObjectRef, Missing]:
    place = f"namespace {ref.namespace!r}" if ref.namespace else "the cluster"
    return ref, Missing(reason, f"{field}: {ref.name!r}: no such {ref.kind} in {place}: {advice}", blocks)


def _runs_as(workload: Workload) -> Selector:
    return lambda stage: stage.traits.workload is workload


def _secrets(spec: FusionRunSpec) -> Iterator[tuple[str, SecretKeyRef | SecretRef, Selector]]:
    """Yield every Secret in the spec, with its field and the stages whose pods read it."""

    def reads(stage: Stage) -> bool:
        return stage.traits.hub is HubAccess.READ

    def writes(stage: Stage) -> bool:
        return stage.traits.hub is HubAccess.WRITE

    def scores(stage: Stage) -> bool:
        return stage.kind is StageKind.SCORE

    hub, s3, reward, publish = spec.hub, spec.s3, spec.reward_model.endpoint, spec.publish
    called = [(s, s.endpoint) for s in spec.sources if s.endpoint]
    named: list[tuple[str, SecretKeyRef | SecretRef | None, Selector]] = [
        ("spec.hub.tokenSecretRef", hub.token_secret_ref if hub else None, reads),
        ("spec.s3.secretRef", s3.secret_ref if s3 else None, reads),
        *((f"spec.sources[{s.name}].endpoint.apiKeySecretRef", e.api_key_secret_ref, _generates(s)) for s, e in called),
        ("spec.rewardModel.endpoint.apiKeySecretRef", reward.api_key_secret_ref if reward else None, scores),
        ("spec.publish.tokenSecretRef", publish.token_secret_ref if publish else None, writes),
        ("spec.publish.s3SecretRef", publish.s3_secret_ref if publish else None, writes),
    ]
    yield from ((field, secret, blocks) for field, secret, blocks in named if secret)


def _generates(source: Source) -> Selector:
    return lambda stage: stage.kind is StageKind.GENERATE and stage.subject == source


def _scheduling(namespace: str, spec: FusionRunSpec) -> Iterator[tuple[ObjectRef, Missing]]:
    scheduling = spec.scheduling
    benchmarks = spec.evaluation.benchmarks
    programs = any(d.task is Task.CODING for d in spec.datasets) or any(b.grader is Grader.CODING for b in benchmarks)
    sandbox_class = scheduling.sandbox_runtime_class_name if programs else None
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
