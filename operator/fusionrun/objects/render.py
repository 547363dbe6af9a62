"""From a stage to its Kubernetes objects."""

from fusionrun import names
from fusionrun.api.data import Grader
from fusionrun.api.models import Manifest
from fusionrun.api.stage import StageKind
from fusionrun.api.task import encode_task
from fusionrun.objects import meta, remote_code
from fusionrun.objects.deployment import PORT, build_deployment, build_service, server_url
from fusionrun.objects.job import build_job
from fusionrun.objects.meta import Run
from fusionrun.objects.pytorchjob import build_pytorchjob
from fusionrun.objects.sandbox import build_network_policy, build_sandbox_job
from fusionrun.plan.layout import Layout
from fusionrun.plan.stages import Stage
from fusionrun.plan.tasks import build_task
from fusionrun.settings import Settings


def child_name(layout: Layout, stage: Stage, attempt: int) -> str:
    """Name a stage's object: run, stage, a digest with the run's UID in it, and the attempt."""
    digest = names.digest_of(layout.uid, stage.name, layout.digests.get(stage.name, ""))
    return names.object_name(layout.run, stage.name, digest, attempt)


def render(layout: Layout, stage: Stage, attempt: int, settings: Settings) -> list[Manifest]:
    """Render the objects of a stage, in the order in which they must be created.

    Parameters
    ----------
    layout
        The pinned plan.
    stage
        The stage to render.
    attempt
        0 at first; the number of whole-job retries after that. A server and the stage that it serves share it: a
        restarted server is another object, at another address.
    settings
        The operator's settings, with the images frozen at the run's acceptance.
    """
    run = Run(layout.namespace, layout.run, layout.uid, layout.spec)
    name = child_name(layout, stage, attempt)
    closing = [remote_code.build_network_policy(run, PORT)] if meta.runs_remote_code(run, stage) else []
    if stage.kind is StageKind.SERVE:
        model_path = layout.served_model(stage.name)
        deployment = build_deployment(run, stage, name, attempt, settings, model_path)
        return [*closing, build_service(run, stage, name, attempt), deployment]
    url = server_url(run, child_name(layout, layout.plan[stage.server], attempt)) if stage.server else ""
    task = build_task(layout, stage, url)
    stage_labels = meta.labels(run, stage, attempt)
    config_map = meta.config_map(run, name, stage_labels, {"task.json": encode_task(task)})
    if stage.kind in (StageKind.SFT, StageKind.DPO):
        return [config_map, build_pytorchjob(run, stage, name, attempt, settings)]
    if stage.kind is StageKind.VERIFY and stage.parameters["grader"] == Grader.CODING:
        job = build_sandbox_job(run, stage, name, attempt, settings, task)
        return [build_network_policy(run), config_map, job]
    return [*closing, config_map, build_job(run, stage, name, attempt, settings, task.digest)]
