"""The Deployment and Service of a model server: vLLM, up only while its generation runs."""

from typing import Any

from fusionrun import names
from fusionrun.api.models import Manifest, ServerSettings
from fusionrun.objects import meta, remote_code
from fusionrun.objects.meta import Run
from fusionrun.plan.stages import Stage
from fusionrun.settings import Settings

PORT = 8000
PROBE_PERIOD_SECONDS = 2
NO_PROGRESS_DEADLINE = 2**31 - 1
"""Waiting for a node, a queue or an image is no failure; the startup probe bounds what comes after.

Source: Kubernetes, pkg/controller/deployment/util: ``HasProgressDeadline`` takes the largest int32 for none.
"""


def server_url(run: Run, name: str) -> str:
    """Return the base URL of a server, with ``/v1``."""
    return f"http://{name}.{run.namespace}.svc:{PORT}/v1"


def server_settings(run: Run, stage: Stage) -> ServerSettings:
    """Return how a ``serve`` stage's model is to be served."""
    name = stage.name.removeprefix("serve/")
    for source in run.spec.sources:
        if source.name == name and source.served:
            return source.served
    return run.spec.evaluation.server or ServerSettings()


def vllm_command(model_path: str, name: str, server: ServerSettings, settings: Settings, *, trust: bool) -> list[str]:
    """Return the command line of ``vllm serve``.

    Notes
    -----
    ``--generation-config vllm``: a field left out of a request must not be filled from the model's own file
    (traps.md; vLLM, "serve" arguments).
    """
    command = [
        "vllm", "serve", model_path,
        "--served-model-name", name,
        "--port", str(PORT),
        "--generation-config", "vllm",
        "--dtype", server.dtype.value,
        "--tensor-parallel-size", str(server.tensor_parallel_size),
        "--pipeline-parallel-size", str(server.pipeline_parallel_size),
    ]  # fmt: skip
    if server.max_model_len:
        command += ["--max-model-len", str(server.max_model_len)]
    if trust:
        command.append("--trust-remote-code")
    return [*command, *settings.serve_extra_args, *server.extra_args]


def build_deployment(run: Run, stage: Stage, name: str, attempt: int, settings: Settings, model_path: str) -> Manifest:
    """Build the Deployment of a ``serve`` stage."""
    server = server_settings(run, stage)
    served_name = stage.name.removeprefix("serve/")
    trust = meta.runs_remote_code(run, stage)
    environment = [
        *meta.environment(run, stage, settings),
        {"name": "VLLM_NO_USAGE_STATS", "value": "1"},
        *({"name": k, "value": v} for k, v in sorted(settings.cpu_environment.items())),
    ]
    probe: dict[str, Any] = {"httpGet": {"path": "/v1/models", "port": PORT}, "periodSeconds": PROBE_PERIOD_SECONDS}
    container = meta.container(
        "vllm",
        settings.images.serve,
        vllm_command(model_path, served_name, server, settings, trust=trust),
        settings,
        env=environment,
        ports=[{"name": "http", "containerPort": PORT}],
        startupProbe=probe | {"failureThreshold": max(1, server.startup_timeout_seconds // PROBE_PERIOD_SECONDS)},
        readinessProbe={"httpGet": {"path": "/health", "port": PORT}, "periodSeconds": 5, "timeoutSeconds": 5},
        resources=meta.resources(server.resources, settings),
        volumeMounts=meta.mounts(task=False, shared_memory=True, read_only_data=True),
    )
    pod = meta.pod_spec(run, settings, [container], meta.volumes(run, None, shared_memory=True), "Always")
    pod["terminationGracePeriodSeconds"] = 5
    selector = _selector(run, stage, attempt)
    stage_labels = meta.labels(run, stage, attempt)
    pod_labels = stage_labels | (remote_code.LABELS if trust else {})
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta.metadata(run, name, stage_labels | meta.queue_labels(run.spec.scheduling)),
        "spec": {
            "replicas": server.replicas,
            "strategy": {"type": "Recreate"},
            "progressDeadlineSeconds": NO_PROGRESS_DEADLINE,
            "selector": {"matchLabels": selector},
            "template": {"metadata": {"labels": pod_labels}, "spec": pod},
        },
    }


def build_service(run: Run, stage: Stage, name: str, attempt: int) -> Manifest:
    """Build the Service of a ``serve`` stage."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta.metadata(run, name, meta.labels(run, stage, attempt)),
        "spec": {
            "selector": _selector(run, stage, attempt),
            "ports": [{"name": "http", "port": PORT, "targetPort": "http"}],
        },
    }


def _selector(run: Run, stage: Stage, attempt: int) -> dict[str, str]:
    return {
        names.LABEL_RUN: run.name,
        names.LABEL_STAGE: names.stage_label(stage.name),
        names.LABEL_ATTEMPT: str(attempt),
    }
