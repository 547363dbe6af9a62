"""Parts that all child objects share: labels, owner, pod template, volumes, environment."""

from dataclasses import dataclass
from typing import Any

from fusionrun import names
from fusionrun.api.artifacts import MOUNT_PATH
from fusionrun.api.models import Manifest, Resources, SecretKeyRef, SecretRef
from fusionrun.api.pod import POD_UID_ENV, PROGRESS_URL_ENV, TASK_PATH
from fusionrun.api.spec import FusionRunSpec, Scheduling
from fusionrun.plan.gpus import gpu_limits
from fusionrun.plan.kinds import HubAccess
from fusionrun.plan.stages import Stage
from fusionrun.settings import Settings

USER_ID = 1000
"""UID and GID of every pod (images/README.md)."""
TASK_DIRECTORY = TASK_PATH.rsplit("/", 1)[0]
S3_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
"""Keys that a Secret for an object store must have. They are the environment variables that S3 clients read."""
S3_MORE_KEYS = ("AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL")
"""Optional keys. Other keys of the Secret are not passed on, since they could set any variable of a program."""


@dataclass(frozen=True)
class Run:
    """The run that owns the objects, with its resolved spec."""

    namespace: str
    name: str
    uid: str
    spec: FusionRunSpec


def labels(run: Run, stage: Stage, attempt: int) -> dict[str, str]:
    """Return the labels of the objects of a stage. The run's own labels, such as Argo CD's, are not copied."""
    return {
        names.LABEL_NAME: "fusionrun",
        names.LABEL_COMPONENT: stage.kind.value,
        names.LABEL_MANAGED_BY: names.MANAGED_BY,
        names.LABEL_RUN: run.name,
        names.LABEL_STAGE: names.stage_label(stage.name),
        names.LABEL_ATTEMPT: str(attempt),
    }


def run_labels(run: Run) -> dict[str, str]:
    """Return the labels of an object that no single stage owns."""
    return {names.LABEL_NAME: "fusionrun", names.LABEL_MANAGED_BY: names.MANAGED_BY, names.LABEL_RUN: run.name}


def owner_references(run: Run) -> list[dict[str, Any]]:
    """Return the owner reference with which Kubernetes deletes an object together with its run."""
    return [
        {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "name": run.name,
            "uid": run.uid,
            "controller": True,
            "blockOwnerDeletion": False,
        }
    ]


def metadata(run: Run, name: str, all_labels: dict[str, str]) -> dict[str, Any]:
    """Return the metadata of an object."""
    return {"name": name, "namespace": run.namespace, "labels": all_labels, "ownerReferences": owner_references(run)}


def queue_labels(scheduling: Scheduling) -> dict[str, str]:
    """Return the label of Kueue, which then controls ``suspend``; the operator never sets that field."""
    found = {}
    if scheduling.queue_name:
        found[names.LABEL_QUEUE] = scheduling.queue_name
    return found


def config_map(run: Run, name: str, all_labels: dict[str, str], data: dict[str, str]) -> Manifest:
    """Build an immutable ConfigMap."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(run, name, all_labels),
        "immutable": True,
        "data": data,
    }


def resources(given: Resources | None, settings: Settings) -> dict[str, Any]:
    """Return the resources of a container: from the spec, else the defaults of the operator."""
    if given is not None:
        return given.model_dump(mode="json", exclude_none=True)
    return {"requests": dict(settings.default_requests), "limits": dict(settings.default_limits)}


def stage_resources(run: Run, stage: Stage, settings: Settings) -> dict[str, Any]:
    """Return the resources of the container of a stage."""
    given = stage.traits.resources
    return resources(given(run.spec) if given else None, settings)


def container_security() -> dict[str, Any]:
    """Return the security context of the restricted Pod Security Standard, with a read-only root file system."""
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True}


def cpu_environment(settings: Settings) -> list[dict[str, Any]]:
    """Return the environment that the operator adds to pods that run torch."""
    return [{"name": k, "value": v} for k, v in sorted(settings.cpu_environment.items())]


def environment(run: Run, stage: Stage, settings: Settings) -> list[dict[str, Any]]:
    """Return the environment of the program of a stage."""
    found: list[dict[str, Any]] = [
        {"name": POD_UID_ENV, "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        {"name": "DO_NOT_TRACK", "value": "1"},
        {"name": "TQDM_DISABLE", "value": "1"},
    ]
    # A pod that runs code of a model has no egress, so it cannot push its progress.
    if settings.progress_url and not stage.remote_code:
        found.append({"name": PROGRESS_URL_ENV, "value": settings.progress_url})
    return found + _hub_environment(run.spec, stage.traits.hub)


def _hub_environment(spec: FusionRunSpec, access: HubAccess | None) -> list[dict[str, Any]]:
    """Return references to the credentials for hubs and object stores, or the variables that keep a pod offline."""
    hub, s3, publish = spec.hub, spec.s3, spec.publish
    match access:
        case HubAccess.READ:
            return [*_hub_token(hub.token_secret_ref if hub else None), *_s3_keys(s3.secret_ref if s3 else None)]
        case HubAccess.WRITE:
            return [*_hub_token(publish.token_secret_ref), *_s3_keys(publish.s3_secret_ref)] if publish else []
        case None:
            offline = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
            return [{"name": name, "value": "1"} for name in offline]


def _hub_token(secret: SecretKeyRef | None) -> list[dict[str, Any]]:
    if secret is None:
        return []
    return [{"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": secret.name, "key": secret.key}}}]


def _s3_keys(secret: SecretRef | None) -> list[dict[str, Any]]:
    if secret is None:
        return []
    references: list[dict[str, Any]] = [
        *({"name": secret.name, "key": key} for key in S3_KEYS),
        *({"name": secret.name, "key": key, "optional": True} for key in S3_MORE_KEYS),
    ]
    return [{"name": r["key"], "valueFrom": {"secretKeyRef": r}} for r in references]


def volumes(run: Run, task_config_map: str | None, *, shared_memory: bool = False) -> list[dict[str, Any]]:
    """Return the volumes of a pod: the claim, ``/tmp``, the task, and shared memory for torch."""
    found: list[dict[str, Any]] = [
        {"name": "data", "persistentVolumeClaim": {"claimName": run.spec.storage.claim_name}},
        {"name": "tmp", "emptyDir": {}},
    ]
    if task_config_map:
        found.append({"name": "task", "configMap": {"name": task_config_map}})
    if shared_memory:
        found.append({"name": "shm", "emptyDir": {"medium": "Memory"}})
    return found


def mounts(*, task: bool, shared_memory: bool = False, read_only_data: bool = False) -> list[dict[str, Any]]:
    """Return the mounts of ``volumes`` in a container."""
    data: dict[str, Any] = {"name": "data", "mountPath": MOUNT_PATH}
    if read_only_data:
        data["readOnly"] = True
    found: list[dict[str, Any]] = [data, {"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 -- a mount, not a file
    if task:
        found.append({"name": "task", "mountPath": TASK_DIRECTORY, "readOnly": True})
    if shared_memory:
        found.append({"name": "shm", "mountPath": "/dev/shm"})  # noqa: S108
    return found


def sub_path(path: str, *, read_only: bool) -> dict[str, Any]:
    """Return a mount of one directory of the claim, at the path that it has in all pods."""
    mount: dict[str, Any] = {"name": "data", "mountPath": path, "subPath": path.removeprefix(f"{MOUNT_PATH}/")}
    if read_only:
        mount["readOnly"] = True
    return mount


def pod_spec(
    run: Run,
    settings: Settings,
    containers: list[dict[str, Any]],
    pod_volumes: list[dict[str, Any]],
    restart_policy: str,
) -> dict[str, Any]:
    """Return a pod spec under the restricted Pod Security Standard, without a service-account token.

    A pod with GPUs gets ``scheduling.gpuRuntimeClassName``.
    """
    scheduling = run.spec.scheduling
    spec: dict[str, Any] = {
        "restartPolicy": restart_policy,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": containers,
        "volumes": pod_volumes,
    }
    if scheduling.gpu_runtime_class_name and any(_holds_gpus(one) for one in containers):
        spec["runtimeClassName"] = scheduling.gpu_runtime_class_name
    if scheduling.priority_class_name:
        spec["priorityClassName"] = scheduling.priority_class_name
    if scheduling.node_selector:
        spec["nodeSelector"] = dict(scheduling.node_selector)
    if scheduling.tolerations:
        spec["tolerations"] = [t.model_dump(exclude_none=True) for t in scheduling.tolerations]
    if settings.images.pull_secrets:
        spec["imagePullSecrets"] = [{"name": n} for n in settings.images.pull_secrets]
    return spec


def _holds_gpus(one: dict[str, Any]) -> bool:
    return any(str(count) != "0" for count in gpu_limits(one["resources"].get("limits")).values())


def container(name: str, image: str, command: list[str], settings: Settings, **fields: Any) -> dict[str, Any]:
    """Return a container; ``fields`` are fields of the Kubernetes API (``env``, ``resources``, probes)."""
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": settings.images.pull_policy,
        "command": command,
        **fields,
        "securityContext": container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
