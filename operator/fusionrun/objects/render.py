"""Render the Kubernetes objects of a stage."""

from collections.abc import Sequence

from fusionrun import names
from fusionrun.api.contract import Manifest
from fusionrun.api.pod import TASK_DIGEST_ENV
from fusionrun.api.tasks.task import encode_task, task_digest
from fusionrun.objects import meta, trainjob
from fusionrun.objects.avoided_nodes import avoid_nodes
from fusionrun.objects.deployment import PORT, build_deployment, build_service, server_url
from fusionrun.objects.job import build_job
from fusionrun.objects.logs import copy_to_claim, log_directory, mount_for_server
from fusionrun.objects.network_policy import build_policy
from fusionrun.objects.pytorchjob import build_pytorchjob
from fusionrun.objects.sandbox import build_sandbox_job
from fusionrun.objects.server_key import build_secret
from fusionrun.objects.templates import containers
from fusionrun.objects.training import build_pod_group
from fusionrun.objects.training_job import build_training_job
from fusionrun.objects.trainjob import build_trainjob
from fusionrun.plan.kinds import Workload
from fusionrun.plan.pinned import Feature, PinnedPlan
from fusionrun.plan.stages import Stage
from fusionrun.plan.tasks import artifact_digest, build_task, served_model
from fusionrun.settings import Settings


def child_name(pinned: PinnedPlan, stage: Stage, attempt: int) -> str:
    """Return the name of the object of a stage: run, stage, a digest that depends on the run's UID, and the attempt."""
    digest = names.digest_of(pinned.uid, stage.name, pinned.digests.get(stage.name, ""))
    longest = trainjob.NAME_MAX if stage.traits.workload is Workload.TRAIN_JOB else names.OBJECT_NAME_MAX
    return names.object_name(pinned.name, stage.name, digest, attempt, longest)


def render(
    pinned: PinnedPlan, stage: Stage, attempt: int, settings: Settings, avoided_nodes: Sequence[str] = ()
) -> list[Manifest]:
    """Render the objects of a stage, in the order in which they must be created.

    ``attempt`` is 0 for the first attempt, then the number of the retry. A server has the attempt of the stage that it
    serves, so a restarted server is another object with another address. ``settings`` has the images recorded when the
    run was accepted. The pods run on other nodes than ``avoided_nodes`` if they can.
    """
    objects = _render(pinned, stage, attempt, settings)
    avoid_nodes(objects, avoided_nodes)
    return objects


def _render(pinned: PinnedPlan, stage: Stage, attempt: int, settings: Settings) -> list[Manifest]:
    name = child_name(pinned, stage, attempt)
    workload = stage.traits.workload
    first = [build_policy(pinned, stage, PORT, settings)]
    if workload is Workload.DEPLOYMENT or stage.server:
        first += build_secret(pinned, settings.server_key)
    if workload is Workload.DEPLOYMENT:
        deployment = build_deployment(pinned, stage, name, attempt, settings, served_model(pinned, stage))
        mount_for_server(deployment, stage, log_directory(pinned, stage), settings)
        copy_to_claim([deployment], log_directory(pinned, stage))
        _label_artifact(deployment, pinned, pinned.plan.client_of(stage))
        return [*first, build_service(pinned, stage, name, attempt), deployment]
    url = server_url(pinned, child_name(pinned, pinned.plan[stage.server], attempt)) if stage.server else ""
    task = build_task(pinned, stage, url)
    text = encode_task(task)
    config_map = meta.config_map(pinned, name, meta.labels(pinned, stage, attempt), {"task.json": text})
    match workload:
        case Workload.JOB:
            workloads = [build_job(pinned, stage, name, attempt, settings, task.digest)]
        case Workload.SANDBOX_JOB:
            workloads = [build_sandbox_job(pinned, stage, name, attempt, settings, task)]
        case Workload.TRAINING_JOB:
            workloads = build_training_job(pinned, stage, name, attempt, settings)
        case Workload.PYTORCH_JOB:
            workloads = [build_pytorchjob(pinned, stage, name, attempt, settings)]
        case Workload.TRAIN_JOB:
            workloads = build_trainjob(pinned, stage, name, attempt, settings)
    groups = build_pod_group(pinned, stage, name, attempt) if workload.restarts_as_a_whole else []
    _confirm_task(workloads, text)
    copy_to_claim(workloads, log_directory(pinned, stage))
    _label_artifact(workloads[-1], pinned, stage)
    return [*first, config_map, *groups, *workloads]


def _label_artifact(workload: Manifest, pinned: PinnedPlan, stage: Stage) -> None:
    """Label a workload with the digest of the artifact of a stage, so that other runs find who makes it."""
    if stage.name in pinned.digests and Feature.ARTIFACT_LABEL in pinned.features:
        metadata = workload["metadata"]
        metadata["labels"] = metadata["labels"] | {names.LABEL_ARTIFACT: artifact_digest(pinned, stage)}


def _confirm_task(workloads: list[Manifest], text: str) -> None:
    """Record the digest of the task in the workload, and give it to each container that reads the task."""
    digest = task_digest(text.encode())
    workloads[-1]["metadata"]["annotations"] = {names.ANNOTATION_TASK: digest}
    for container in containers(workloads):
        container["env"].append({"name": TASK_DIGEST_ENV, "value": digest})
