"""The Deployment and the Service of a model server: vLLM, which runs while its ``generate`` stage does."""

from typing import Any

from fusionrun import names
from fusionrun.api.contract import Manifest
from fusionrun.api.tasks.chat_templates import TEMPLATES
from fusionrun.objects import meta, resources
from fusionrun.objects.network_policy import isolation_labels
from fusionrun.objects.server_key import VLLM_KEY_ENV, key_variable
from fusionrun.plan.families.responses import ServedModel
from fusionrun.plan.pinned import Feature, Run
from fusionrun.plan.stages import Stage
from fusionrun.settings import Settings

PORT = 8000
PROBE_PERIOD_SECONDS = 1
"""Period of the startup probe, the shortest that Kubernetes allows: the GPUs of a server are idle until it is noticed.

The first readiness probe follows at once. Source: Kubernetes, pkg/kubelet/prober/prober_manager.go, UpdatePodStatus.
"""
STOP_SECONDS = 1
"""Grace period. A server keeps nothing, and no request matters when it is deleted. With 0, the API server would remove
the pod at once, and its GPUs would count as free while the process still has their memory.

Source: Kubernetes, "Pod Lifecycle", "Forced Pod termination".
"""
NO_PROGRESS_DEADLINE = 2**31 - 1
"""No deadline: a wait for a node, a queue or an image is not a failure. The startup probe limits the rest.

Source: Kubernetes, pkg/controller/deployment/util: ``HasProgressDeadline`` treats the largest int32 as none.
"""


_ENVIRONMENT = {
    "HOME": meta.TMP,
    "XDG_CACHE_HOME": f"{meta.TMP}/cache",
    "XDG_CONFIG_HOME": f"{meta.TMP}/config",
    "HF_HOME": f"{meta.TMP}/hf",
    "TORCHINDUCTOR_CACHE_DIR": f"{meta.TMP}/torchinductor",
    "TRITON_CACHE_DIR": f"{meta.TMP}/triton",
    "VLLM_CACHE_ROOT": f"{meta.TMP}/vllm",
    "VLLM_CONFIG_ROOT": f"{meta.TMP}/vllm-config",
    "VLLM_NO_USAGE_STATS": "1",
}
"""The image is vLLM's own, whose user is root by default. As another user it needs a writable home and caches, and in a
pod only ``/tmp`` is writable. Source: vllm-project/vllm#40275.
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
    ``--chat-template`` is a path or, if no such file can be opened, the text itself. Source: vLLM 0.32,
    ``load_chat_template`` (renderers/chat_utils.py).
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
    if served.chat_template:
        command += ["--chat-template", TEMPLATES[served.chat_template]]
    if stage.remote_code:
        command.append("--trust-remote-code")
    return [*command, *settings.serve_extra_args, *server.extra_args]


def build_deployment(
    run: Run, stage: Stage, name: str, attempt: int, settings: Settings, served: ServedModel
) -> Manifest:
    """Build the Deployment of a ``serve`` stage."""
    server = served.settings
    # Without a key, unlike /v1. vLLM opens its port once the engine has loaded the model. Source: vLLM, api_server.py.
    health = {"httpGet": {"path": "/health", "port": PORT}}
    variables = [{"name": name, "value": value} for name, value in _ENVIRONMENT.items()]
    failures = max(1, server.startup_timeout_seconds // PROBE_PERIOD_SECONDS)
    container = meta.container(
        "vllm",
        stage,
        vllm_command(stage, served, settings),
        settings,
        workingDir=meta.TMP,
        env=meta.environment(run, stage, settings, *variables, *key_variable(run, VLLM_KEY_ENV)),
        ports=[{"name": "http", "containerPort": PORT}],
        startupProbe=health | {"periodSeconds": PROBE_PERIOD_SECONDS, "failureThreshold": failures},
        **_probes(run, health),
        resources=resources.of_part(run, server.resources, settings),
        volumeMounts=meta.mounts(stage),
    )
    pod = meta.pod_spec(run, stage, settings, container, meta.volumes(run, stage, name, settings))
    pod["terminationGracePeriodSeconds"] = STOP_SECONDS
    if stage.remote_code and Feature.NETWORK_CHECK in run.features:
        pod["initContainers"] = [_network_check(stage, settings)]
    stage_labels, queue_labels = meta.labels(run, stage, attempt), meta.queue_labels(run, stage)
    # Kueue queues each pod of a Deployment by itself. It copies the name of the queue to the pods; the name of the
    # priority class only since 0.10 (pkg/controller/jobs/deployment).
    priority = {k: v for k, v in queue_labels.items() if k == names.LABEL_QUEUE_PRIORITY}
    return {
        "apiVersion": "apps/v1",
        "kind": stage.traits.workload.api_kind,
        "metadata": meta.metadata(run, name, stage_labels | queue_labels),
        "spec": {
            "replicas": server.replicas,
            "strategy": {"type": "Recreate"},
            "progressDeadlineSeconds": NO_PROGRESS_DEADLINE,
            "selector": {"matchLabels": _selector(run, stage, attempt)},
            "template": meta.pod_template(run, stage, settings, stage_labels | isolation_labels(stage) | priority, pod),
        },
    }


def _probes(run: Run, health: dict[str, Any]) -> dict[str, Any]:
    """Return the probes that follow the startup probe.

    vLLM answers ``/health`` in the process that also tokenizes, so under load it may be late: a server leaves its
    Service after a minute without a reply, and restarts after ten. If the engine is dead, the reply is 503, and vLLM
    usually exits by itself. Source: vLLM, entrypoints/serve/instrumentator/health.py and v1/engine/async_llm.py
    (``check_health``); Kubernetes starts no other probe before the startup probe has succeeded.
    """
    if Feature.RETRIES not in run.features:
        return {"readinessProbe": health | {"periodSeconds": 5, "timeoutSeconds": 5}}
    return {
        "readinessProbe": health | {"periodSeconds": 5, "timeoutSeconds": 10, "failureThreshold": 6},
        "livenessProbe": health | {"periodSeconds": 30, "timeoutSeconds": 30, "failureThreshold": 20},
    }


def _network_check(stage: Stage, settings: Settings) -> dict[str, Any]:
    """Return the init container that fails if the pod has network access, before vLLM loads the code of the model."""
    return meta.container(
        names.NETWORK_CHECK_CONTAINER,
        stage,
        ["python", "-m", "fusionrun_stages.sandbox.probe"],
        settings,
        image=settings.images.data,
        resources=resources.default(settings),
        volumeMounts=[{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 -- a mount, not a file
    )


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
        **meta.uid_label(run),
        names.LABEL_STAGE: names.stage_label(stage.name),
        names.LABEL_ATTEMPT: str(attempt),
    }
