"""The Job that runs model-written programs: two containers under two UIDs, and as closed as Kubernetes can make it.

``judge`` (our UID) holds the prompts' tests and writes the verdicts; it sees its input read-only and one directory
of its own. ``runner`` (another UID) runs the programs; it sees no volume but a socket in memory, and none of the
judge's files. It is a native sidecar: restarted if a program kills it, ended when the judge ends.
"""

from typing import Any

from fusionrun import names
from fusionrun.api.artifacts import artifact_dir
from fusionrun.api.models import Manifest
from fusionrun.api.task import StageTask, VerifyParameters
from fusionrun.errors import PlanError
from fusionrun.objects import meta
from fusionrun.objects.job import wrap_in_job
from fusionrun.objects.meta import Run
from fusionrun.plan.stages import Stage
from fusionrun.settings import Settings

RUNNER_USER_ID = 2000
SOCKET_DIRECTORY = "/run/sandbox"
SOCKET = f"{SOCKET_DIRECTORY}/runner.sock"
SANDBOX_LABEL = "fusionrun.dev/sandbox"
NETWORK_POLICY_SUFFIX = "-sandbox"
_JUDGE_RESOURCES = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}}
_RUNNER_RESOURCES = {
    "requests": {"cpu": "100m", "memory": "128Mi"},
    "limits": {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "64Mi"},
}


def build_sandbox_job(run: Run, stage: Stage, name: str, attempt: int, settings: Settings, task: StageTask) -> Manifest:
    """Build the Job of a coding ``verify`` stage."""
    parameters = task.parameters
    if not isinstance(parameters, VerifyParameters):
        raise PlanError(f"{stage.name}: not a verify stage")
    socket = {"name": "socket", "mountPath": SOCKET_DIRECTORY}
    judge = meta.container(
        "judge",
        settings.images.sandbox,
        ["python", "-m", "fusionrun_stages", "verify"],
        settings,
        env=meta.environment(run, stage, settings),
        resources=_JUDGE_RESOURCES,
        volumeMounts=[
            meta.sub_path(parameters.prompts_dir, read_only=True),
            meta.sub_path(parameters.responses_dir, read_only=True),
            meta.sub_path(artifact_dir(stage.kind, task.digest), read_only=False),
            {"name": "task", "mountPath": meta.TASK_DIRECTORY, "readOnly": True},
            {"name": "judge-tmp", "mountPath": "/tmp"},  # noqa: S108 -- a mount, not a file
            socket,
        ],
    )
    runner = meta.container(
        "runner",
        settings.images.sandbox,
        ["python", "-m", "fusionrun_stages.sandbox.runner", "--socket", SOCKET],
        settings,
        resources=_RUNNER_RESOURCES,
        volumeMounts=[{"name": "runner-tmp", "mountPath": "/tmp"}, socket],  # noqa: S108
    )
    runner["securityContext"] |= {"runAsUser": RUNNER_USER_ID}
    runner["restartPolicy"] = "Always"
    pod_volumes: list[dict[str, Any]] = [
        {"name": "data", "persistentVolumeClaim": {"claimName": run.spec.storage.claim_name}},
        {"name": "task", "configMap": {"name": name}},
        {"name": "judge-tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
        {"name": "runner-tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
        {"name": "socket", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
    ]
    pod = meta.pod_spec(run, settings, [judge], pod_volumes, "Never")
    pod["initContainers"] = [runner]
    if run.spec.scheduling.sandbox_runtime_class_name:
        pod["runtimeClassName"] = run.spec.scheduling.sandbox_runtime_class_name
    job = wrap_in_job(run, stage, name, attempt, pod)
    job["spec"]["template"]["metadata"]["labels"] = {
        **job["spec"]["template"]["metadata"]["labels"],
        SANDBOX_LABEL: "true",
    }
    return job


def build_network_policy(run: Run) -> Manifest:
    """Build the policy that denies a run's sandbox pods every packet, both ways."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": meta.metadata(run, f"{run.name}{NETWORK_POLICY_SUFFIX}", meta.run_labels(run)),
        "spec": {
            "podSelector": {"matchLabels": {names.LABEL_RUN: run.name, SANDBOX_LABEL: "true"}},
            "policyTypes": ["Ingress", "Egress"],
        },
    }
