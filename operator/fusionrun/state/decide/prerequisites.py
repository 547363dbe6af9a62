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


def every_stage(_: Stage) -> bool:
    """Return True: every stage waits."""
    return True


def _runs_as(workload: Workload) -> Callable[[Stage], bool]:
    return lambda stage: stage.traits.workload is workload


def _has_access(access: HubAccess) -> Callable[[Stage], bool]:
    return lambda stage: stage.traits.hub is access


def _of(kind: StageKind, source: Source | None = None) -> Callable[[Stage], bool]:
    return lambda stage: stage.kind is kind and source in (None, stage.subject)


def _holds_gpus(stage: Stage) -> bool:
    return stage.gpus > 0


def _asks_for_gpus(spec: FusionRunSpec) -> bool:
    servers = [*(source.served for source in spec.sources), spec.evaluation.server]
    resources = [spec.training.resources, spec.reward_model.resources, *(s.resources for s in servers if s)]
    # By name only: the checks of the spec report a count that is not a whole number.
    return any(gpu_limits(one.limits) for one in resources if one)


@dataclass(frozen=True)
class Missing:
    """A prerequisite that does not exist. The run waits for it and never fails because of it."""

    reason: Reason
    message: str
    holds: Callable[[Stage], bool] = every_stage
    """Whether a stage cannot start without it."""


def prerequisites(run: Manifest) -> tuple[ObjectRef, ...]:
    """Return the objects that a run needs and does not create itself.

    There are none for a run whose spec is invalid: ``decide`` reports why.
    """
    try:
        spec = fill(FusionRunSpec.model_validate(run["spec"]))
    except ValidationError:
        return ()
    return tuple(ref for ref, _ in _wanted(run["metadata"]["namespace"], spec))


def missing(namespace: str, spec: FusionRunSpec, present: dict[ObjectRef, bool]) -> tuple[Missing, ...]:
    """Return the prerequisites that do not exist. One that was not looked up does not count as missing."""
    return tuple(wanted for ref, wanted in _wanted(namespace, spec) if not present.get(ref, True))


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


def _wanted(namespace: str, spec: FusionRunSpec) -> Iterator[tuple[ObjectRef, Missing]]:
    claim = spec.storage.claim_name
    yield (
        ObjectRef("v1", "PersistentVolumeClaim", namespace, claim),
        Missing(
            Reason.CLAIM_MISSING,
            f"spec.storage.claimName: {claim!r}: no such PersistentVolumeClaim in namespace {namespace!r}: "
            "create it; the run then continues",
        ),
    )
    yield (
        PYTORCHJOB_CRD,
        Missing(
            Reason.TRAINING_OPERATOR_MISSING,
            "spec.training.backend: 'PyTorchJob': the cluster has no such kind: "
            "install the Kubeflow training operator (v1.9); the run then continues",
            _runs_as(Workload.PYTORCH_JOB),
        ),
    )
    for field, secret, holds in _secrets(spec):
        yield (
            ObjectRef("v1", "Secret", namespace, secret.name),
            Missing(
                Reason.SECRET_MISSING,
                f"{field}: {secret.name!r}: no such Secret in namespace {namespace!r}: create it with {_keys(secret)}",
                holds,
            ),
        )
    yield from _scheduling(namespace, spec)


def _keys(secret: SecretKeyRef | SecretRef) -> str:
    return f"key {secret.key!r}" if isinstance(secret, SecretKeyRef) else f"keys {' and '.join(S3_KEYS)}"


def _secrets(spec: FusionRunSpec) -> Iterator[tuple[str, SecretKeyRef | SecretRef, Callable[[Stage], bool]]]:
    """Yield every Secret in the spec, with its field and the stages whose pods read it."""
    reward, publish = spec.reward_model.endpoint, spec.publish
    reads, writes = _has_access(HubAccess.READ), _has_access(HubAccess.WRITE)
    named: list[tuple[str, SecretKeyRef | SecretRef | None, Callable[[Stage], bool]]] = [
        ("spec.hub.tokenSecretRef", spec.hub.token_secret_ref if spec.hub else None, reads),
        ("spec.s3.secretRef", spec.s3.secret_ref if spec.s3 else None, reads),
        *(
            (
                f"spec.sources[{source.name}].endpoint.apiKeySecretRef",
                source.endpoint.api_key_secret_ref,
                _of(StageKind.GENERATE, source),
            )
            for source in spec.sources
            if source.endpoint
        ),
        (
            "spec.rewardModel.endpoint.apiKeySecretRef",
            reward.api_key_secret_ref if reward else None,
            _of(StageKind.SCORE),
        ),
        ("spec.publish.tokenSecretRef", publish.token_secret_ref if publish else None, writes),
        ("spec.publish.s3SecretRef", publish.s3_secret_ref if publish else None, writes),
    ]
    yield from ((field, secret, holds) for field, secret, holds in named if secret)


def _scheduling(namespace: str, spec: FusionRunSpec) -> Iterator[tuple[ObjectRef, Missing]]:
    scheduling = spec.scheduling
    programs = any(d.task is Task.CODING for d in spec.datasets) or any(
        b.grader is Grader.CODING for b in spec.evaluation.benchmarks
    )
    sandbox_class = scheduling.sandbox_runtime_class_name if programs else None
    gpu_class = scheduling.gpu_runtime_class_name if _asks_for_gpus(spec) else None
    sandboxed = _runs_as(Workload.SANDBOX_JOB)
    runtime, priority = ("node.k8s.io/v1", "RuntimeClass"), ("scheduling.k8s.io/v1", "PriorityClass")
    for field, name, (api_version, kind), reason, holds in (
        ("sandboxRuntimeClassName", sandbox_class, runtime, Reason.RUNTIME_CLASS_MISSING, sandboxed),
        ("gpuRuntimeClassName", gpu_class, runtime, Reason.RUNTIME_CLASS_MISSING, _holds_gpus),
        ("priorityClassName", scheduling.priority_class_name, priority, Reason.PRIORITY_CLASS_MISSING, every_stage),
    ):
        if name:
            text = f"spec.scheduling.{field}: {name!r}: no such {kind} in the cluster: create it, or change the field"
            yield ObjectRef(api_version, kind, "", name), Missing(reason, text, holds)
    if queue := scheduling.queue_name:
        yield (
            KUEUE,
            Missing(
                Reason.KUEUE_MISSING,
                f"spec.scheduling.queueName: {queue!r}: the cluster does not serve the API group {KUEUE_GROUP}: "
                "install Kueue, or remove spec.scheduling.queueName",
            ),
        )
        yield (
            ObjectRef(KUEUE_GROUP, "LocalQueue", namespace, queue),
            Missing(
                Reason.LOCAL_QUEUE_MISSING,
                f"spec.scheduling.queueName: {queue!r}: no such LocalQueue in namespace {namespace!r}: create it, or "
                "change the field",
            ),
        )
