"""What must exist in the cluster before a run can work, and what to tell when it does not."""

from collections.abc import Iterator

from pydantic import ValidationError

from fusionrun.api.data import Grader, Task
from fusionrun.api.models import Manifest
from fusionrun.api.spec import FusionRunSpec
from fusionrun.api.status import Reason
from fusionrun.plan.defaults import fill
from fusionrun.plan.stages import Plan
from fusionrun.state.live import ObjectRef

PYTORCHJOB_CRD = ObjectRef("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "pytorchjobs.kubeflow.org")


def prerequisites(run: Manifest) -> tuple[ObjectRef, ...]:
    """List the objects that a run needs and does not make: its claim, secrets, RuntimeClass, the PyTorchJob CRD.

    A run whose spec cannot be read needs nothing: ``decide`` will say what is wrong with it.
    """
    try:
        spec = fill(FusionRunSpec.model_validate(run["spec"]))
    except ValidationError:
        return ()
    return tuple(ref for ref, _, _ in _wanted(run["metadata"]["namespace"], spec))


def first_missing(namespace: str, spec: FusionRunSpec, present: dict[ObjectRef, bool]) -> tuple[Reason, str] | None:
    """Return the reason and the message of the first prerequisite that is not there.

    It may still come, so this is Waiting and never terminal.
    """
    for ref, reason, hint in _wanted(namespace, spec):
        if not present.get(ref, False):
            return reason, hint
    return None


def over_budget(plan: Plan, spec: FusionRunSpec) -> tuple[Reason, str] | None:
    """Return the reason and the message of the first stage that no patience would ever let start.

    The budget may be raised, so this is Waiting and never terminal.
    """
    budget = spec.scheduling.gpu_budget
    for stage in plan.stages:
        if budget is not None and stage.gpus > budget:
            return (
                Reason.WAITING_FOR_GPUS,
                f"spec.scheduling.gpuBudget: {budget}: stage {stage.name} needs {stage.gpus} GPUs at once: raise it, "
                "and the run goes on by itself",
            )
    return None


def _wanted(namespace: str, spec: FusionRunSpec) -> Iterator[tuple[ObjectRef, Reason, str]]:
    claim = spec.storage.claim_name
    yield (
        ObjectRef("v1", "PersistentVolumeClaim", namespace, claim),
        Reason.CLAIM_MISSING,
        f"spec.storage.claimName: {claim!r}: no such PersistentVolumeClaim in namespace {namespace!r}: "
        "create it, and the run goes on by itself",
    )
    yield (
        PYTORCHJOB_CRD,
        Reason.TRAINING_OPERATOR_MISSING,
        "spec.training.backend: 'PyTorchJob': the cluster has no such kind: install the Kubeflow training operator "
        "(v1.9), and the run goes on by itself",
    )
    secrets = [("spec.hub.tokenSecretRef", spec.hub.token_secret_ref)] if spec.hub else []
    secrets += [
        (f"spec.sources[{s.name}].endpoint.apiKeySecretRef", s.endpoint.api_key_secret_ref)
        for s in spec.sources
        if s.endpoint
    ]
    if spec.reward_model.endpoint:
        secrets.append(("spec.rewardModel.endpoint.apiKeySecretRef", spec.reward_model.endpoint.api_key_secret_ref))
    for field, secret in secrets:
        if secret:
            yield (
                ObjectRef("v1", "Secret", namespace, secret.name),
                Reason.SECRET_MISSING,
                f"{field}: {secret.name!r}: no such Secret in namespace {namespace!r}: "
                f"create it with key {secret.key!r}",
            )
    runtime_class = spec.scheduling.sandbox_runtime_class_name
    programs = any(d.task is Task.CODING for d in spec.datasets) or any(
        b.grader is Grader.CODING for b in spec.evaluation.benchmarks
    )
    if runtime_class and programs:
        yield (
            ObjectRef("node.k8s.io/v1", "RuntimeClass", "", runtime_class),
            Reason.RUNTIME_CLASS_MISSING,
            f"spec.scheduling.sandboxRuntimeClassName: {runtime_class!r}: no such RuntimeClass in the cluster",
        )
