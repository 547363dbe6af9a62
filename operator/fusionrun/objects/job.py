"""The Job of a stage: a plain Job, or an Indexed Job if the stage has shards."""

from typing import Any

from fusionrun.api.artifacts import artifact_dir
from fusionrun.api.models import Manifest
from fusionrun.api.pod import API_KEY_ENV, EXIT_SERVER_WEDGED, EXIT_USER_ERROR, METRICS_PORT, METRICS_PORT_ENV
from fusionrun.objects import meta
from fusionrun.objects.meta import Run
from fusionrun.objects.network_policy import REMOTE_CODE_LABELS
from fusionrun.plan.kinds import Workload
from fusionrun.plan.stages import Stage
from fusionrun.settings import Settings


def build_job(run: Run, stage: Stage, name: str, attempt: int, settings: Settings, digest: str) -> Manifest:
    """Build the Job of a stage. The ConfigMap of the same name has its task; ``digest`` names its artifact."""
    traits = stage.traits
    environment = meta.environment(run, stage, settings) + _api_key(stage)
    if traits.shared_memory:
        environment += meta.cpu_environment(settings)
    ports: dict[str, Any] = {}
    if traits.serves_metrics:
        environment.append({"name": METRICS_PORT_ENV, "value": str(METRICS_PORT)})
        ports = {"ports": [{"name": "metrics", "containerPort": METRICS_PORT}]}
    container = meta.container(
        stage.kind.value,
        traits.image(settings.images),
        ["python", "-m", "fusionrun_stages", stage.kind.value],
        settings,
        env=environment,
        **ports,
        resources=meta.stage_resources(run, stage, settings),
        volumeMounts=_mounts(stage, digest),
    )
    pod_volumes = meta.volumes(run, name, shared_memory=traits.shared_memory)
    pod = meta.pod_spec(run, settings, [container], pod_volumes, traits.workload.restart_policy)
    return wrap_in_job(run, stage, name, attempt, pod, REMOTE_CODE_LABELS if stage.remote_code else {})


def _mounts(stage: Stage, digest: str) -> list[dict[str, Any]]:
    """Return the mounts of the container. One that runs code of a model may write only to its artifact."""
    found = meta.mounts(task=True, shared_memory=stage.traits.shared_memory, read_only_data=stage.remote_code)
    if stage.remote_code:
        found.append(meta.sub_path(artifact_dir(stage.kind, digest), read_only=False))
    return found


def _api_key(stage: Stage) -> list[dict[str, Any]]:
    """Return a reference to the API key of the endpoint that the stage calls."""
    ref = stage.endpoint.api_key_secret_ref if stage.endpoint else None
    if ref is None:
        return []
    return [{"name": API_KEY_ENV, "valueFrom": {"secretKeyRef": {"name": ref.name, "key": ref.key}}}]


def wrap_in_job(
    run: Run, stage: Stage, name: str, attempt: int, pod: dict[str, Any], pod_labels: dict[str, str]
) -> Manifest:
    """Build a Job around a pod spec; ``pod_labels`` are added to its pods only, for a NetworkPolicy to select them.

    Notes
    -----
    A user error ends the Job at once. So does a hung server of the run, which the operator restarts before the next
    attempt. A disruption of the node does not count as a failure (``explain_early`` in ``state.observe.failures``
    limits evictions). Every other failure is retried up to ``backoffLimit`` of the run. A policy makes
    ``podReplacementPolicy: Failed`` mandatory.
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
        "kind": Workload.JOB.api_kind,
        "metadata": meta.metadata(run, name, stage_labels | meta.queue_labels(run.spec.scheduling)),
        "spec": spec,
    }
