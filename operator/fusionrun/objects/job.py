"""A batch/v1 Job for a stage that is a program of ours: plain, or Indexed when the stage has shards."""

from typing import Any

from fusionrun.api.models import Manifest, ModelEndpoint
from fusionrun.api.stage import StageKind
from fusionrun.api.task import EXIT_SERVER_WEDGED, EXIT_USER_ERROR, METRICS_PORT, METRICS_PORT_ENV
from fusionrun.objects import meta, remote_code
from fusionrun.objects.meta import Run
from fusionrun.plan.stages import Stage
from fusionrun.plan.tasks import API_KEY_ENV
from fusionrun.settings import Images, Settings


def stage_image(kind: StageKind, images: Images) -> str:
    """Return the image that a kind of stage runs in (images/README.md)."""
    match kind:
        case StageKind.SCORE:
            return images.reward
        case StageKind.SFT | StageKind.DPO | StageKind.PROMOTE:
            return images.train
        case StageKind.SERVE:
            return images.serve
        case (
            StageKind.RESOLVE
            | StageKind.FETCH
            | StageKind.PREPARE
            | StageKind.GENERATE
            | StageKind.VERIFY
            | StageKind.CONSTRUCT
            | StageKind.EVALUATE
            | StageKind.PUBLISH
        ):
            return images.data


def build_job(run: Run, stage: Stage, name: str, attempt: int, settings: Settings, digest: str) -> Manifest:
    """Build the Job of a stage; its task is the ConfigMap of the same name, and ``digest`` names its artifact."""
    called = stage.kind is StageKind.SCORE and run.spec.reward_model.endpoint is not None
    shared_memory = stage.kind in (StageKind.SCORE, StageKind.PROMOTE) and not called
    trusted = meta.runs_remote_code(run, stage)
    given = {StageKind.PROMOTE: run.spec.training.resources}
    if not called:
        given[StageKind.SCORE] = run.spec.reward_model.resources
    environment = meta.environment(run, stage, settings) + _api_key(run, stage)
    if shared_memory:
        environment += [{"name": k, "value": v} for k, v in sorted(settings.cpu_environment.items())]
    ports: dict[str, Any] = {}
    if stage.kind is StageKind.GENERATE:
        environment.append({"name": METRICS_PORT_ENV, "value": str(METRICS_PORT)})
        ports = {"ports": [{"name": "metrics", "containerPort": METRICS_PORT}]}
    program = meta.container(
        stage.kind.value,
        settings.images.data if called else stage_image(stage.kind, settings.images),
        ["python", "-m", "fusionrun_stages", stage.kind.value],
        settings,
        env=environment,
        **ports,
        resources=meta.resources(given.get(stage.kind, run.spec.data_stages.resources), settings),
        volumeMounts=remote_code.mounts(stage, digest)
        if trusted
        else meta.mounts(task=True, shared_memory=shared_memory),
    )
    pod_volumes = meta.volumes(run, name, shared_memory=shared_memory)
    pod = meta.pod_spec(run, settings, [program], pod_volumes, "Never")
    return wrap_in_job(run, stage, name, attempt, pod, remote_code.LABELS if trusted else {})


def _api_key(run: Run, stage: Stage) -> list[dict[str, Any]]:
    """Return the endpoint's API key, by reference, for the stage that calls it."""
    endpoint: ModelEndpoint | None = None
    if stage.kind is StageKind.SCORE:
        endpoint = run.spec.reward_model.endpoint
    elif stage.kind is StageKind.GENERATE:
        endpoint = next((s.endpoint for s in run.spec.sources if stage.name == f"generate/{s.name}"), None)
    if endpoint is None or endpoint.api_key_secret_ref is None:
        return []
    ref = endpoint.api_key_secret_ref
    return [{"name": API_KEY_ENV, "valueFrom": {"secretKeyRef": {"name": ref.name, "key": ref.key}}}]


def wrap_in_job(
    run: Run, stage: Stage, name: str, attempt: int, pod: dict[str, Any], pod_labels: dict[str, str]
) -> Manifest:
    """Build a Job around a pod spec; ``pod_labels`` are its pods' alone, for a NetworkPolicy to find them.

    Notes
    -----
    The user's error ends the Job at once, and so does a wedged server of the run's own, which the operator restarts
    before the next attempt; a disruption of the node counts for nothing (``explain_early`` in
    ``state.observe.failures`` sees to an end of evictions); whatever else fails is tried again up to the run's
    ``backoffLimit``. A policy makes ``podReplacementPolicy: Failed`` mandatory.
    Source: Kubernetes, "Handling retriable and non-retriable pod failures with Pod failure policy".
    """
    stage_labels = meta.labels(run, stage, attempt)
    ending = [EXIT_USER_ERROR, EXIT_SERVER_WEDGED] if stage.server else [EXIT_USER_ERROR]
    spec: dict[str, Any] = {
        "backoffLimit": run.spec.backoff_limit,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {
            "rules": [
                {"action": "FailJob", "onExitCodes": {"operator": "In", "values": ending}},
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            ]
        },
        "template": {"metadata": {"labels": stage_labels | pod_labels}, "spec": pod},
    }
    if stage.shards is not None:
        spec |= {
            "completionMode": "Indexed",
            "completions": stage.shards,
            "parallelism": min(stage.parallelism, stage.shards),
        }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": meta.metadata(run, name, stage_labels | meta.queue_labels(run.spec.scheduling)),
        "spec": spec,
    }
