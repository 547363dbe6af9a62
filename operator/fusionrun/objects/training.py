"""Parts that the objects of all training backends share: the container, its rendezvous, and the pod template."""

from typing import Any

from fusionrun.api.contract import Manifest
from fusionrun.api.pod import COMPLETION_INDEX_ANNOTATION
from fusionrun.api.spec.training import GangScheduler, Tracker
from fusionrun.objects import meta, resources
from fusionrun.plan.pinned import Run
from fusionrun.plan.stages import Stage
from fusionrun.settings import Settings

MASTER_PORT = 29500
"""Port of rank 0. Source: PyTorch, the default of torchrun's ``--master-port``."""
INDEX_PATH = f"metadata.annotations['{COMPLETION_INDEX_ANNOTATION}']"

COSCHEDULING_LABEL = "scheduling.x-k8s.io/pod-group"
"""Label of the pods of a PodGroup. Source: kubernetes-sigs/scheduler-plugins, apis/scheduling/v1alpha1."""
VOLCANO_ANNOTATION = "scheduling.k8s.io/group-name"
"""Annotation of the pods of a PodGroup. Source: Volcano, apis/scheduling/v1beta1, KubeGroupNameAnnotationKey."""

POD_GROUPS = {
    GangScheduler.COSCHEDULING: "scheduling.x-k8s.io/v1alpha1",
    GangScheduler.VOLCANO: "scheduling.volcano.sh/v1beta1",
}
"""The apiVersion of the PodGroup of each gang scheduler. Its ``minMember`` is the number of pods to place at once."""


def training_template(
    run: Run,
    stage: Stage,
    name: str,
    attempt: int,
    settings: Settings,
    container: str,
    rendezvous: list[dict[str, Any]],
) -> dict[str, Any]:
    """Return the pod template of ``sft`` or ``dpo``.

    ``container`` is the name that the backend requires. ``rendezvous`` are environment variables that tell a process
    its rank and the address of rank 0, if the backend does not set them.
    """
    # One process needs no torchrun, which would replace the exit codes of the stage.
    launcher = "python" if run.spec.training.processes_per_node == 1 else "torchrun"
    trainer = meta.container(
        container,
        stage,
        [launcher, "-m", "fusionrun_stages", stage.kind.value],
        settings,
        env=[*meta.environment(run, stage, settings), *_tracker_token(run), *rendezvous],
        resources=resources.of_stage(run, stage, settings),
        volumeMounts=meta.mounts(stage),
    )
    pod = meta.pod_spec(run, stage, settings, trainer, meta.volumes(run, stage, name, settings))
    return _in_gang(run, name, meta.pod_template(run, stage, settings, meta.labels(run, stage, attempt), pod))


def _tracker_token(run: Run) -> list[dict[str, Any]]:
    """Return the variable with the token of the MLflow server. Source: MLflow, the variables of its client."""
    training = run.spec.training
    token = training.mlflow.token_secret_ref if training.mlflow and Tracker.MLFLOW in training.report_to else None
    if token is None:
        return []
    reference = {"name": token.name, "key": token.key}
    return [{"name": "MLFLOW_TRACKING_TOKEN", "valueFrom": {"secretKeyRef": reference}}]


def all_at_once(nodes: int, template: dict[str, Any]) -> dict[str, Any]:
    """Return the spec of an Indexed Job whose pods run at the same time, and which ends with the first that fails."""
    return {
        "completionMode": "Indexed",
        "completions": nodes,
        "parallelism": nodes,
        "backoffLimit": 0,
        "template": template,
    }


def rendezvous_environment(run: Run, master: str) -> list[dict[str, Any]]:
    """Return the variables with which the pods of an Indexed Job find each other; ``master`` is the host of index 0.

    Notes
    -----
    torchrun reads an argument such as ``--node-rank`` from PET_NODE_RANK. A single process per pod reads RANK and
    WORLD_SIZE. Source: PyTorch, ``torch.distributed.argparse_util`` and "Environment variable initialization". A
    single pod needs no address: the default is the pod itself.
    """
    training = run.spec.training
    index: dict[str, Any] = {"valueFrom": {"fieldRef": {"fieldPath": INDEX_PATH}}}
    nodes, processes = {"value": str(training.nodes)}, {"value": str(training.processes_per_node)}
    address = {"MASTER_ADDR": {"value": master}, "MASTER_PORT": {"value": str(MASTER_PORT)}}
    if training.processes_per_node == 1:
        found = {"WORLD_SIZE": nodes, "RANK": index, **address} if training.nodes > 1 else {}
    else:
        several = {"NNODES": nodes, "NODE_RANK": index, **address} if training.nodes > 1 else {}
        found = {f"PET_{name}": value for name, value in ({"NPROC_PER_NODE": processes} | several).items()}
    return [{"name": name, **value} for name, value in found.items()]


def build_pod_group(run: Run, stage: Stage, name: str, attempt: int) -> list[Manifest]:
    """Return the PodGroup of an attempt; none without ``training.gang``."""
    gang = run.spec.training.gang
    if gang is None:
        return []
    group = {
        "apiVersion": POD_GROUPS[gang.scheduler],
        "kind": "PodGroup",
        "metadata": meta.metadata(run, name, meta.labels(run, stage, attempt)),
        "spec": {"minMember": run.spec.training.nodes},
    }
    return [group]


def _in_gang(run: Run, name: str, template: dict[str, Any]) -> dict[str, Any]:
    gang = run.spec.training.gang
    if gang is None:
        return template
    template["spec"]["schedulerName"] = gang.scheduler_name
    match gang.scheduler:
        case GangScheduler.COSCHEDULING:
            template["metadata"]["labels"] |= {COSCHEDULING_LABEL: name}
        case GangScheduler.VOLCANO:
            annotations = template["metadata"].get("annotations") or {}
            template["metadata"]["annotations"] = annotations | {VOLCANO_ANNOTATION: name}
    return template
