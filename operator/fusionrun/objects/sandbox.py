"""The Job that runs model-written programs, in two containers with different UIDs and without network access.

``judge`` has the tests of the prompts and writes the verdicts. It mounts its input read-only, and one directory for its
artifact. ``runner`` runs the programs. It mounts only a socket and a folder per program, all in memory. It is a native
sidecar: it is restarted if a program kills it, and ends with the judge.
"""

from typing import Any

from fusionrun.api.artifacts import artifact_dir
from fusionrun.api.models import Manifest
from fusionrun.api.parameters import VerifyParameters
from fusionrun.api.sandbox import (
    JUDGE_OWN_BYTES,
    PROGRAM_FOLDER_BYTES,
    PROGRAM_MEMORY_BYTES,
    PROGRAMS_AT_ONCE,
    PROGRAMS_AT_ONCE_ENV,
    PROGRAMS_DIRECTORY,
    RUNNER_OWN_BYTES,
    RUNTIME_CLASS_ENV,
    SOCKET,
    SOCKET_DIRECTORY,
    TESTS_MEMORY_BYTES,
)
from fusionrun.api.task import StageTask
from fusionrun.errors import PlanError
from fusionrun.objects import meta
from fusionrun.objects.job import wrap_in_job
from fusionrun.objects.meta import Run
from fusionrun.objects.network_policy import SANDBOX_LABELS
from fusionrun.plan.stages import Stage
from fusionrun.settings import Settings

RUNNER_USER_ID = 2000
_REQUESTS = {"cpu": "100m", "memory": "128Mi"}


def build_sandbox_job(run: Run, stage: Stage, name: str, attempt: int, settings: Settings, task: StageTask) -> Manifest:
    """Build the Job of a coding ``verify`` stage."""
    parameters = task.parameters
    if not isinstance(parameters, VerifyParameters):
        raise PlanError(f"{stage.name}: not a verify stage")
    traits = stage.traits
    image = traits.image(settings.images)
    socket = {"name": "socket", "mountPath": SOCKET_DIRECTORY}
    judge = meta.container(
        "judge",
        image,
        ["python", "-m", "fusionrun_stages", "verify"],
        settings,
        env=[*meta.environment(run, stage, settings), *_judge_environment(run)],
        resources={"requests": _REQUESTS, "limits": {"memory": _mebibytes(_judge_bytes())}},
        volumeMounts=[
            meta.sub_path(parameters.prompts_dir, read_only=True),
            meta.sub_path(parameters.responses_dir, read_only=True),
            meta.sub_path(artifact_dir(stage.kind, task.digest), read_only=False),
            {"name": "task", "mountPath": meta.TASK_DIRECTORY, "readOnly": True},
            {"name": "judge-tmp", "mountPath": "/tmp"},  # noqa: S108 -- a mount, not a file
            socket,
        ],
    )
    folders = [f"{PROGRAMS_DIRECTORY}/{number}" for number in range(PROGRAMS_AT_ONCE)]
    runner = meta.container(
        "runner",
        image,
        ["python", "-m", "fusionrun_stages.sandbox.runner", "--socket", SOCKET, "--folders", *folders],
        settings,
        resources={
            "requests": _REQUESTS,
            "limits": {
                "cpu": str(PROGRAMS_AT_ONCE),
                "memory": _mebibytes(_runner_bytes()),
                "ephemeral-storage": "64Mi",
            },
        },
        volumeMounts=[
            *({"name": f"program-{number}", "mountPath": folder} for number, folder in enumerate(folders)),
            socket,
        ],
    )
    runner["securityContext"] |= {"runAsUser": RUNNER_USER_ID}
    runner["restartPolicy"] = "Always"
    pod_volumes: list[dict[str, Any]] = [
        {"name": "data", "persistentVolumeClaim": {"claimName": run.spec.storage.claim_name}},
        {"name": "task", "configMap": {"name": name}},
        _in_memory("judge-tmp", "64Mi"),
        _in_memory("socket", "1Mi"),
        *(_in_memory(f"program-{number}", _mebibytes(PROGRAM_FOLDER_BYTES)) for number in range(PROGRAMS_AT_ONCE)),
    ]
    pod = meta.pod_spec(run, settings, [judge], pod_volumes, traits.workload.restart_policy)
    pod["initContainers"] = [runner]
    if run.spec.scheduling.sandbox_runtime_class_name:
        pod["runtimeClassName"] = run.spec.scheduling.sandbox_runtime_class_name
    return wrap_in_job(run, stage, name, attempt, pod, SANDBOX_LABELS)


def _judge_environment(run: Run) -> list[dict[str, Any]]:
    found = [{"name": PROGRAMS_AT_ONCE_ENV, "value": str(PROGRAMS_AT_ONCE)}]
    if run.spec.scheduling.sandbox_runtime_class_name:
        found.append({"name": RUNTIME_CLASS_ENV, "value": run.spec.scheduling.sandbox_runtime_class_name})
    return found


def _judge_bytes() -> int:
    return JUDGE_OWN_BYTES + PROGRAMS_AT_ONCE * TESTS_MEMORY_BYTES


def _runner_bytes() -> int:
    return RUNNER_OWN_BYTES + PROGRAMS_AT_ONCE * (PROGRAM_MEMORY_BYTES + PROGRAM_FOLDER_BYTES)


def _mebibytes(count: int) -> str:
    return f"{count // 2**20}Mi"


def _in_memory(name: str, limit: str) -> dict[str, Any]:
    return {"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": limit}}
