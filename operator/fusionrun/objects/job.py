"""The Job of a stage: a plain Job, or an Indexed Job if the stage has shards."""

from typing import Any

from fusionrun.api.artifacts import artifact_dir
from fusionrun.api.contract import Manifest
from fusionrun.api.pod import (
    API_KEY_ENV,
    EXIT_SERVER_WEDGED,
    EXIT_SIGTERM,
    EXIT_USER_ERROR,
    METRICS_PORT,
    METRICS_PORT_ENV,
)
from fusionrun.api.stage import StageKind
from fusionrun.objects import meta, resources
from fusionrun.objects.access import access_containers
from fusionrun.objects.network_policy import isolation_labels
from fusionrun.objects.server_key import key_variable
from fusionrun.plan.pinned import Feature, Run
from fusionrun.plan.stages import Stage
from fusionrun.settings import Settings

FAILED_SHARDS_PART = 10
"""A Job ends as soon as more than one in this many of its shards have failed."""

NO_BACKOFF_LIMIT = 2**31 - 1
"""Kubernetes' default of ``backoffLimit`` with a limit per index. Release 0.2 reads the field."""


def build_job(run: Run, stage: Stage, name: str, attempt: int, settings: Settings, digest: str) -> Manifest:
    """Build the Job of a stage. The ConfigMap of the same name has its task; ``digest`` names its artifact."""
    environment = meta.environment(run, stage, settings, *_api_key(run, stage))
    ports: dict[str, Any] = {}
    if stage.traits.serves_metrics:
        environment.append({"name": METRICS_PORT_ENV, "value": str(METRICS_PORT)})
        ports = {"ports": [{"name": "metrics", "containerPort": METRICS_PORT}]}
    mounts, first = meta.mounts(stage), []
    if stage.remote_code:  # the claim is read-only, except for the artifact of the stage
        directory = artifact_dir(stage.kind, digest)
        mounts.append(meta.sub_path(directory, read_only=False))
        first.append(meta.make_directory(stage, directory, settings))
    if stage.kind is StageKind.RESOLVE:
        first += access_containers(run, stage, settings)
    container = meta.container(
        stage.kind.value,
        stage,
        ["python", "-m", "fusionrun_stages", stage.kind.value],
        settings,
        env=environment,
        **ports,
        resources=resources.of_stage(run, stage, settings),
        volumeMounts=mounts,
    )
    pod = meta.pod_spec(run, stage, settings, container, meta.volumes(run, stage, name, settings))
    if first:
        pod["initContainers"] = first
    return wrap_in_job(run, stage, name, attempt, pod, settings)


def _api_key(run: Run, stage: Stage) -> list[dict[str, Any]]:
    """Return a reference to the API key of the endpoint, or of the run's own server, that the stage calls."""
    if stage.server:
        return key_variable(run, API_KEY_ENV)
    ref = stage.endpoint.api_key_secret_ref if stage.endpoint else None
    if ref is None:
        return []
    return [{"name": API_KEY_ENV, "valueFrom": {"secretKeyRef": {"name": ref.name, "key": ref.key}}}]


def wrap_in_job(run: Run, stage: Stage, name: str, attempt: int, pod: dict[str, Any], settings: Settings) -> Manifest:
    """Build a Job around a pod spec.

    Notes
    -----
    A user error ends the Job at once. So does a hung server of the run, which the operator restarts before the next
    attempt. A disruption of the node does not count as a failure (``explain_early`` in ``state.observe.failures``
    limits evictions for a pod's own use), and neither does SIGTERM, which a deleted pod gets. Every other failure is
    retried up to ``backoffLimit`` of the run. With a pod failure policy, Kubernetes requires
    ``podReplacementPolicy: Failed``.
    Source: Kubernetes, "Handling retriable and non-retriable pod failures with Pod failure policy".

    Each shard has its own limit. A shard that reaches it does not stop the others, whose artifacts are kept, so that
    only the failed one has to be made again; more than a tenth of the shards end the Job, since their failures have a
    common cause. If pods take shards in turn, the same holds for the pods: a shard that nobody made is then missing.
    Source: Kubernetes, "Jobs", "Backoff limit per index" (on by default since 1.29).
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
        "template": meta.pod_template(run, stage, settings, stage_labels | isolation_labels(stage), pod),
    }
    if Feature.RETRIES in run.features:
        stopped = {"operator": "In", "values": [EXIT_SIGTERM], "containerName": pod["containers"][0]["name"]}
        spec["podFailurePolicy"]["rules"].append({"action": "Ignore", "onExitCodes": stopped})
        if stage.shards is not None:
            spec |= {
                "backoffLimit": NO_BACKOFF_LIMIT,
                "backoffLimitPerIndex": run.spec.backoff_limit,
                "maxFailedIndexes": stage.completions // FAILED_SHARDS_PART,
            }
    if stage.shards is not None:
        spec |= {
            "completionMode": "Indexed",
            "completions": stage.completions,
            "parallelism": min(stage.parallelism, stage.shards),
        }
    return {
        "apiVersion": "batch/v1",
        "kind": stage.traits.workload.api_kind,
        "metadata": meta.metadata(run, name, stage_labels | meta.queue_labels(run, stage)),
        "spec": spec,
    }
