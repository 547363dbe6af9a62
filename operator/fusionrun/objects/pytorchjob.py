"""The PyTorchJob of a training stage: one Master, and a Worker for each other node."""

from typing import Any

from fusionrun.api.contract import Manifest
from fusionrun.objects import meta
from fusionrun.objects.training import training_template
from fusionrun.plan.pinned import Run
from fusionrun.plan.stages import Stage
from fusionrun.settings import Settings


def build_pytorchjob(run: Run, stage: Stage, name: str, attempt: int, settings: Settings) -> Manifest:
    """Build the PyTorchJob of ``sft`` or ``dpo``. The ConfigMap of the same name has its task.

    Notes
    -----
    ``restartPolicy: Never`` and no ``backoffLimit``: if one rank fails the others hang, so the operator recreates the
    whole PyTorchJob, which resumes from the last checkpoint. The container must have the name ``pytorch``. torchrun
    reads its rendezvous from the PET_* variables that the training operator sets; a single process reads RANK,
    WORLD_SIZE and MASTER_*, which it sets as well.
    Source: kubeflow/training-operator v1.9, pkg/controller.v1/pytorch (webhook and envvar).
    """
    training, workload = run.spec.training, stage.traits.workload
    template = training_template(run, stage, name, attempt, settings, "pytorch", rendezvous=[])
    replica = {"restartPolicy": workload.restart_policy, "template": template}
    replicas: dict[str, Any] = {"Master": {"replicas": 1, **replica}}
    if training.nodes > 1:
        replicas["Worker"] = {"replicas": training.nodes - 1, **replica}
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": workload.api_kind,
        "metadata": meta.metadata(run, name, meta.labels(run, stage, attempt) | meta.queue_labels(run, stage)),
        "spec": {
            "nprocPerNode": str(training.processes_per_node),
            "runPolicy": {"cleanPodPolicy": "Running"},
            "pytorchReplicaSpecs": replicas,
        },
    }
