"""The Deployment and the Service of a model server: vLLM, which runs while its ``generate`` stage does."""

from typing import Any

from fusionrun import names
from fusionrun.api.models import Manifest
from fusionrun.objects import meta
from fusionrun.objects.network_policy import isolation_labels
from fusionrun.plan.families.responses import ServedModel
from fusionrun.plan.pinned import Run
from fusionrun.plan.stages import Stage
from fusionrun.settings import Settings

PORT = 8000
PROBE_PERIOD_SECONDS = 2
NO_PROGRESS_DEADLINE = 2**31 - 1
"""No deadline: a wait for a node, a queue or an image is not a failure. The startup probe limits the rest.

Source: Kubernetes, pkg/controller/deployment/util: ``HasProgressDeadline`` treats the largest int32 as none.
"""


def server_url(run: Run, name: str) -> str:
    """Return the base URL of a server, with ``/v1``."""
    return f"http://{name}.{run.namespace}.svc:{PORT}/v1"


def vllm_command(stage: Stage, served: ServedModel, settings: Settings) -> list[str]:
    """Return the command line of ``vllm serve``.

    Notes
    -----
    ``--generation-config vllm``: otherwise vLLM takes the sampling parameters that a request leaves out from the
    ``generation_config.json`` of the model. Source: vLLM, ``vllm serve`` arguments.
    """
    server = served.settings
    command = [
        "vllm", "serve", served.path,
        "--served-model-name", served.name,
        "--port", str(PORT),
        "--generation-config", "vllm",
        "--dtype", server.dtype.value,
        "--tensor-parallel-size", str(server.tensor_parallel_size),
        "--pipeline-parallel-size", str(server.pipeline_parallel_size),
    ]  # fmt: skip
    if server.max_model_len:
        command += ["--max-model-len", str(server.max_model_len)]
    if stage.remote_code:
        command.append("--trust-remote-code")
    return [*command, *settings.serve_extra_args, *server.extra_args]


def build_deployment(
    run: Run, stage: Stage, name: str, attempt: int, settings: Settings, served: ServedModel
) -> Manifest:
    """Build the Deployment of a ``serve`` stage."""
    server = served.settings
    probe: dict[str, Any] = {"httpGet": {"path": "/v1/models", "port": PORT}, "periodSeconds": PROBE_PERIOD_SECONDS}
    container = meta.container(
        "vllm",
        stage,
        vllm_command(stage, served, settings),
        settings,
        env=meta.environment(run, stage, settings, {"name": "VLLM_NO_USAGE_STATS", "value": "1"}),
        ports=[{"name": "http", "containerPort": PORT}],
        startupProbe=probe | {"failureThreshold": max(1, server.startup_timeout_seconds // PROBE_PERIOD_SECONDS)},
        readinessProbe={"httpGet": {"path": "/health", "port": PORT}, "periodSeconds": 5, "timeoutSeconds": 5},
        resources=meta.resources(server.resources, settings),
        volumeMounts=meta.mounts(stage),
    )
    pod = meta.pod_spec(run, stage, settings, container, meta.volumes(run, stage, name, settings))
    pod["terminationGracePeriodSeconds"] = 5
    stage_labels = meta.labels(run, stage, attempt)
    return {
        "apiVersion": "apps/v1",
        "kind": stage.traits.workload.api_kind,
        "metadata": meta.metadata(run, name, stage_labels | meta.queue_labels(run)),
        "spec": {
            "replicas": server.replicas,
            "strategy": {"type": "Recreate"},
            "progressDeadlineSeconds": NO_PROGRESS_DEADLINE,
            "selector": {"matchLabels": _selector(run, stage, attempt)},
            "template": {"metadata": {"labels": stage_labels | isolation_labels(stage)}, "spec": pod},
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
