"""The PyTorchJob of a training stage: one Master, and a Worker for each other node."""

from typing import Any

from fusionrun.api.models import Manifest
from fusionrun.objects import meta
from fusionrun.plan.pinned import Run
from fusionrun.plan.stages import Stage
from fusionrun.settings import Settings


def build_pytorchjob(run: Run, stage: Stage, name: str, attempt: int, settings: Settings) -> Manifest:
    """Build the PyTorchJob of ``sft`` or ``dpo``. The ConfigMap of the same name has its task.

    Notes
    -----
    ``restartPolicy: Never`` and no ``backoffLimit``: if one rank fails the others hang, so the operator recreates the
    whole PyTorchJob, which resumes from the last checkpoint. The container must have the name ``pytorch``. torchrun
    reads its rendezvous from the PET_* variables that the training operator sets.
    Source: kubeflow/training-operator v1.9, pkg/controller.v1/pytorch (webhook and envvar).
    """
    training, traits = run.spec.training, stage.traits
    stage_labels = meta.labels(run, stage, attempt)
    # One process needs no torchrun, which would replace the exit codes of the stage. The training operator sets RANK,
    # WORLD_SIZE and MASTER_*.
    launcher = "python" if training.processes_per_node == 1 else "torchrun"
    container = meta.container(
        "pytorch",
        stage,
        [launcher, "-m", "fusionrun_stages", stage.kind.value],
        settings,
        env=meta.environment(run, stage, settings),
        resources=meta.stage_resources(run, stage, settings),
        volumeMounts=meta.mounts(stage),
    )
    pod = meta.pod_spec(run, stage, settings, container, meta.volumes(run, stage, name, settings))
    replica = {
        "restartPolicy": traits.workload.restart_policy,
        "template": {"metadata": {"labels": stage_labels}, "spec": pod},
    }
    replicas: dict[str, Any] = {"Master": {"replicas": 1, **replica}}
    if training.nodes > 1:
        replicas["Worker"] = {"replicas": training.nodes - 1, **replica}
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": traits.workload.api_kind,
        "metadata": meta.metadata(run, name, stage_labels | meta.queue_labels(run, stage)),
        "spec": {
            "nprocPerNode": str(training.processes_per_node),
            "runPolicy": {"cleanPodPolicy": "Running"},
            "pytorchReplicaSpecs": replicas,
        },
    }
