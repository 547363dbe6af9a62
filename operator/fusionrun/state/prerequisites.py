"""What must exist in the cluster before a run can work, what to tell when it does not, and which stages wait for it."""

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
from fusionrun.state.live import ObjectRef

PYTORCHJOB_CRD = ObjectRef("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "pytorchjobs.kubeflow.org")

KUEUE_GROUP = "kueue.x-k8s.io"
"""Kueue's API group. Its objects are referred to by group alone: the client asks for a version that is served."""
KUEUE = ObjectRef(KUEUE_GROUP, "APIGroup", "", KUEUE_GROUP)
"""Kueue's API group itself, as the API server's discovery lists it."""


def every_stage(_: Stage) -> bool:
    """Say of any stage that it waits."""
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
    # By name alone: a count that is no whole number is reported later, by the checks of the spec.
    return any(gpu_limits(one.limits) for one in resources if one)


@dataclass(frozen=True)
class Missing:
    """Something that is not there and may still come: it is waited for, and never terminal."""

    reason: Reason
    message: str
    holds: Callable[[Stage], bool] = every_stage
    """Which stages cannot start without it."""


def prerequisites(run: Manifest) -> tuple[ObjectRef, ...]:
    """List the objects that a run needs and does not make.

    A run whose spec cannot be read needs nothing: ``decide`` will say what is wrong with it.
    """
    try:
        spec = fill(FusionRunSpec.model_validate(run["spec"]))
    except ValidationError:
        return ()
    return tuple(ref for ref, _ in _wanted(run["metadata"]["namespace"], spec))


def missing(namespace: str, spec: FusionRunSpec, present: dict[ObjectRef, bool]) -> tuple[Missing, ...]:
    """Return the prerequisites that are not there; one that nobody could ask for is not missed."""
    return tuple(wanted for ref, wanted in _wanted(namespace, spec) if not present.get(ref, True))


def over_budget(plan: Plan, spec: FusionRunSpec) -> tuple[Missing, ...]:
    """Return the first stage that no patience would ever let start; the budget may be raised."""
    budget = spec.scheduling.gpu_budget
    for stage in plan.stages:
        if budget is not None and stage.gpus > budget:
            text = (
                f"spec.scheduling.gpuBudget: {budget}: stage {stage.name} needs {stage.gpus} GPUs at once: raise it, "
                "and the run goes on by itself"
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
            "create it, and the run goes on by itself",
        ),
    )
    yield (
        PYTORCHJOB_CRD,
        Missing(
            Reason.TRAINING_OPERATOR_MISSING,
            "spec.training.backend: 'PyTorchJob': the cluster has no such kind: install the Kubeflow training operator "
            "(v1.9), and the run goes on by itself",
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
    """Yield every Secret that the spec names, with its field and the stages whose pods read it."""
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
    runtime_class = spec.scheduling.sandbox_runtime_class_name
    programs = any(d.task is Task.CODING for d in spec.datasets) or any(
        b.grader is Grader.CODING for b in spec.evaluation.benchmarks
    )
    if runtime_class and programs:
        yield (
            ObjectRef("node.k8s.io/v1", "RuntimeClass", "", runtime_class),
            Missing(
                Reason.RUNTIME_CLASS_MISSING,
                f"spec.scheduling.sandboxRuntimeClassName: {runtime_class!r}: no such RuntimeClass in the cluster",
                _runs_as(Workload.SANDBOX_JOB),
            ),
        )
    gpu_class = spec.scheduling.gpu_runtime_class_name
    if gpu_class and _asks_for_gpus(spec):
        yield (
            ObjectRef("node.k8s.io/v1", "RuntimeClass", "", gpu_class),
            Missing(
                Reason.RUNTIME_CLASS_MISSING,
                f"spec.scheduling.gpuRuntimeClassName: {gpu_class!r}: no such RuntimeClass in the cluster",
                _holds_gpus,
            ),
        )
    if priority_class := spec.scheduling.priority_class_name:
        yield (
            ObjectRef("scheduling.k8s.io/v1", "PriorityClass", "", priority_class),
            Missing(
                Reason.PRIORITY_CLASS_MISSING,
                f"spec.scheduling.priorityClassName: {priority_class!r}: no such PriorityClass in the cluster",
            ),
        )
    if queue := spec.scheduling.queue_name:
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
