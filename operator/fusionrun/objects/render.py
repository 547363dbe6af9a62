"""Render the Kubernetes objects of a stage."""

from fusionrun import names
from fusionrun.api.models import Manifest
from fusionrun.api.task import encode_task
from fusionrun.objects import meta
from fusionrun.objects.deployment import PORT, build_deployment, build_service, server_url
from fusionrun.objects.job import build_job
from fusionrun.objects.meta import Run
from fusionrun.objects.network_policy import remote_code_policy, sandbox_policy
from fusionrun.objects.pytorchjob import build_pytorchjob
from fusionrun.objects.sandbox import build_sandbox_job
from fusionrun.plan.kinds import Workload
from fusionrun.plan.pinned import PinnedPlan
from fusionrun.plan.stages import Stage
from fusionrun.plan.tasks import build_task, served_model
from fusionrun.settings import Settings


def child_name(pinned: PinnedPlan, stage: Stage, attempt: int) -> str:
    """Return the name of the object of a stage: run, stage, a digest that depends on the run's UID, and the attempt."""
    digest = names.digest_of(pinned.uid, stage.name, pinned.digests.get(stage.name, ""))
    return names.object_name(pinned.run, stage.name, digest, attempt)


def render(pinned: PinnedPlan, stage: Stage, attempt: int, settings: Settings) -> list[Manifest]:
    """Render the objects of a stage, in the order in which they must be created.

    Parameters
    ----------
    pinned
        The pinned plan.
    stage
        The stage to render.
    attempt
        0 for the first attempt, then the number of the retry. A server has the attempt of the stage that it serves,
        so a restarted server is another object with another address.
    settings
        The settings of the operator, with the images recorded when the run was accepted.
    """
    run = Run(pinned.namespace, pinned.run, pinned.uid, pinned.spec)
    name = child_name(pinned, stage, attempt)
    policies = [remote_code_policy(run, PORT)] if stage.remote_code else []
    workload = stage.traits.workload
    if workload is Workload.DEPLOYMENT:
        deployment = build_deployment(run, stage, name, attempt, settings, served_model(pinned, stage))
        return [*policies, build_service(run, stage, name, attempt), deployment]
    url = server_url(run, child_name(pinned, pinned.plan[stage.server], attempt)) if stage.server else ""
    task = build_task(pinned, stage, url)
    config_map = meta.config_map(run, name, meta.labels(run, stage, attempt), {"task.json": encode_task(task)})
    match workload:
        case Workload.JOB:
            return [*policies, config_map, build_job(run, stage, name, attempt, settings, task.digest)]
        case Workload.SANDBOX_JOB:
            job = build_sandbox_job(run, stage, name, attempt, settings, task)
            return [sandbox_policy(run), config_map, job]
        case Workload.PYTORCH_JOB:
            return [config_map, build_pytorchjob(run, stage, name, attempt, settings)]
