"""The Job that runs model-written programs, in two containers with different UIDs and without network access.

``judge`` has the tests of the prompts and writes the verdicts. It mounts its input read-only, and one directory for its
artifact. ``runner`` runs the programs. It mounts only a socket and a folder per program, all in memory. It is a native
sidecar: it is restarted if a program kills it, and ends with the judge.
"""

from typing import Any

from fusionrun.api.artifacts import artifact_dir
from fusionrun.api.contract import Manifest
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
from fusionrun.api.tasks.responses import VerifyParameters
from fusionrun.api.tasks.task import StageTask
from fusionrun.errors import PlanError
from fusionrun.objects import meta
from fusionrun.objects.job import wrap_in_job
from fusionrun.plan.pinned import Run
from fusionrun.plan.policy import is_isolating
from fusionrun.plan.stages import Stage
from fusionrun.settings import Settings

RUNNER_USER_ID = 2000
_REQUESTS = {"cpu": "100m", "memory": "128Mi"}


def build_sandbox_job(run: Run, stage: Stage, name: str, attempt: int, settings: Settings, task: StageTask) -> Manifest:
    """Build the Job of a coding ``verify`` stage."""
    parameters = task.parameters
    if not isinstance(parameters, VerifyParameters):
        raise PlanError(f"{stage.name}: not a verify stage")
    socket = {"name": "socket", "mountPath": SOCKET_DIRECTORY}
    environment = meta.environment(run, stage, settings, {"name": PROGRAMS_AT_ONCE_ENV, "value": str(PROGRAMS_AT_ONCE)})
    runtime_class = run.spec.scheduling.sandbox_runtime_class_name
    if is_isolating(runtime_class, settings.policy):
        environment.append({"name": RUNTIME_CLASS_ENV, "value": runtime_class})
    directory = artifact_dir(stage.kind, task.digest)
    judge_bytes = JUDGE_OWN_BYTES + PROGRAMS_AT_ONCE * TESTS_MEMORY_BYTES
    judge = meta.container(
        "judge",
        stage,
        ["python", "-m", "fusionrun_stages", "verify"],
        settings,
        env=environment,
        resources={"requests": _REQUESTS, "limits": {"memory": _mebibytes(judge_bytes)}},
        volumeMounts=[
            meta.sub_path(parameters.prompts_dir, read_only=True),
            meta.sub_path(parameters.responses_dir, read_only=True),
            meta.sub_path(directory, read_only=False),
            {"name": "task", "mountPath": meta.TASK_DIRECTORY, "readOnly": True},
            {"name": "judge-tmp", "mountPath": "/tmp"},  # noqa: S108 -- a mount, not a file
            socket,
        ],
    )
    folders = [f"{PROGRAMS_DIRECTORY}/{number}" for number in range(PROGRAMS_AT_ONCE)]
    runner_bytes = RUNNER_OWN_BYTES + PROGRAMS_AT_ONCE * (PROGRAM_MEMORY_BYTES + PROGRAM_FOLDER_BYTES)
    limits = {"cpu": str(PROGRAMS_AT_ONCE), "memory": _mebibytes(runner_bytes), "ephemeral-storage": "64Mi"}
    runner = meta.container(
        "runner",
        stage,
        ["python", "-m", "fusionrun_stages.sandbox.runner", "--socket", SOCKET, "--folders", *folders],
        settings,
        resources={"requests": _REQUESTS, "limits": limits},
        volumeMounts=[
            *({"name": f"program-{number}", "mountPath": folder} for number, folder in enumerate(folders)),
            socket,
        ],
    )
    if settings.fixed_user:
        runner["securityContext"] |= {"runAsUser": RUNNER_USER_ID}
    runner["restartPolicy"] = "Always"
    pod_volumes: list[dict[str, Any]] = [
        {"name": "data", "persistentVolumeClaim": {"claimName": run.spec.storage.claim_name}},
        {"name": "task", "configMap": {"name": name}},
        _in_memory("judge-tmp", "64Mi"),
        _in_memory("socket", "1Mi"),
        *(_in_memory(f"program-{number}", _mebibytes(PROGRAM_FOLDER_BYTES)) for number in range(PROGRAMS_AT_ONCE)),
    ]
    pod = meta.pod_spec(run, stage, settings, judge, pod_volumes)
    pod["initContainers"] = [meta.make_directory(stage, directory, settings), runner]
    return wrap_in_job(run, stage, name, attempt, pod, settings)


def _mebibytes(count: int) -> str:
    return f"{count // 2**20}Mi"


def _in_memory(name: str, limit: str) -> dict[str, Any]:
    return {"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": limit}}
