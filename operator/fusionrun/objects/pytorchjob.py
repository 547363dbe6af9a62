"""The PyTorchJob of a training stage: one Master, the other nodes Workers, never restarted pod by pod."""

from typing import Any

from fusionrun.api.models import Manifest
from fusionrun.objects import meta
from fusionrun.objects.meta import Run
from fusionrun.plan.stages import Stage
from fusionrun.settings import Settings


def build_pytorchjob(run: Run, stage: Stage, name: str, attempt: int, settings: Settings) -> Manifest:
    """Build the PyTorchJob of ``sft`` or ``dpo``; its task is the ConfigMap of the same name.

    Notes
    -----
    ``restartPolicy: Never`` and no ``backoffLimit``: when one rank dies the others hang, so the operator recreates
    the whole job from the last checkpoint. The container must be called ``pytorch``, and torchrun reads its
    rendezvous from the PET_* environment that the training operator sets.
    Source: kubeflow/training-operator v1.9, pkg/controller.v1/pytorch (webhook and envvar).
    """
    training = run.spec.training
    stage_labels = meta.labels(run, stage, attempt)
    environment = [
        *meta.environment(run, stage, settings),
        *({"name": k, "value": v} for k, v in sorted(settings.cpu_environment.items())),
    ]
    # One process needs no torchrun: the training operator sets RANK, WORLD_SIZE and MASTER_*, and our exit codes stay.
    program = ["-m", "fusionrun_stages", stage.kind.value]
    command = ["python", *program] if training.processes_per_node == 1 else ["torchrun", *program]
    container = meta.container(
        "pytorch",
        settings.images.train,
        command,
        settings,
        env=environment,
        resources=meta.resources(training.resources, settings),
        volumeMounts=meta.mounts(task=True, shared_memory=True),
    )
    pod = meta.pod_spec(run, settings, [container], meta.volumes(run, name, shared_memory=True), "Never")
    template = {"metadata": {"labels": stage_labels}, "spec": pod}
    replicas: dict[str, Any] = {"Master": {"replicas": 1, "restartPolicy": "Never", "template": template}}
    if training.nodes > 1:
        replicas["Worker"] = {"replicas": training.nodes - 1, "restartPolicy": "Never", "template": template}
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "PyTorchJob",
        "metadata": meta.metadata(run, name, stage_labels | meta.queue_labels(run.spec.scheduling)),
        "spec": {
            "nprocPerNode": str(training.processes_per_node),
            "runPolicy": {"cleanPodPolicy": "Running"},
            "pytorchReplicaSpecs": replicas,
        },
    }
