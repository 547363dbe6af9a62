"""What every child object has in common: labels, owner, pod template, volumes, environment."""

from dataclasses import dataclass
from typing import Any

from fusionrun import names
from fusionrun.api.artifacts import MOUNT_PATH
from fusionrun.api.models import Manifest, Resources
from fusionrun.api.spec import FusionRunSpec, Scheduling
from fusionrun.api.task import PROGRESS_URL_ENV, TASK_PATH, StageKind
from fusionrun.plan.stages import Stage
from fusionrun.settings import Settings

USER_ID = 1000
"""UID and GID of every pod of ours (images/README.md)."""
TASK_DIRECTORY = TASK_PATH.rsplit("/", 1)[0]
ONLINE = frozenset({StageKind.RESOLVE, StageKind.FETCH, StageKind.PUBLISH})
"""Kinds that may talk to a hub; every other pod runs offline and without a token."""


@dataclass(frozen=True)
class Run:
    """The run that children belong to, with its resolved spec."""

    namespace: str
    name: str
    uid: str
    spec: FusionRunSpec


def labels(run: Run, stage: Stage, attempt: int) -> dict[str, str]:
    """Return the labels of a stage's objects. None of Argo CD's, Flux's or Helm's is ever copied from the run."""
    return {
        names.LABEL_NAME: "fusionrun",
        names.LABEL_COMPONENT: stage.kind.value,
        names.LABEL_MANAGED_BY: names.MANAGED_BY,
        names.LABEL_RUN: run.name,
        names.LABEL_STAGE: names.stage_label(stage.name),
        names.LABEL_ATTEMPT: str(attempt),
    }


def run_labels(run: Run) -> dict[str, str]:
    """Return the labels of an object that belongs to the run as a whole."""
    return {
        names.LABEL_NAME: "fusionrun",
        names.LABEL_MANAGED_BY: names.MANAGED_BY,
        names.LABEL_RUN: run.name,
    }


def owner_references(run: Run) -> list[dict[str, Any]]:
    """Return the owner reference that lets Kubernetes delete a child with its run."""
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
    """Return a child's metadata."""
    return {
        "name": name,
        "namespace": run.namespace,
        "labels": all_labels,
        "ownerReferences": owner_references(run),
    }


def queue_labels(scheduling: Scheduling) -> dict[str, str]:
    """Return Kueue's labels; ``suspend`` is Kueue's then, never ours."""
    found = {}
    if scheduling.queue_name:
        found["kueue.x-k8s.io/queue-name"] = scheduling.queue_name
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
    """Return a container's resources: the spec's, else the operator's defaults."""
    if given is not None:
        return given.model_dump(mode="json", exclude_none=True)
    return {"requests": dict(settings.default_requests), "limits": dict(settings.default_limits)}


def container_security() -> dict[str, Any]:
    """Return the security context that the restricted Pod Security Standard asks for, and a read-only root."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


def environment(run: Run, stage: Stage, settings: Settings) -> list[dict[str, Any]]:
    """Return the environment of a stage's program."""
    found: list[dict[str, Any]] = [
        {"name": "FUSIONRUN_POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        {"name": "DO_NOT_TRACK", "value": "1"},
        {"name": "TQDM_DISABLE", "value": "1"},
    ]
    if settings.progress_url:
        found.append({"name": PROGRESS_URL_ENV, "value": settings.progress_url})
    if stage.kind not in ONLINE:
        found += [
            {"name": "HF_HUB_OFFLINE", "value": "1"},
            {"name": "HF_DATASETS_OFFLINE", "value": "1"},
            {"name": "TRANSFORMERS_OFFLINE", "value": "1"},
        ]
    elif run.spec.hub and run.spec.hub.token_secret_ref and stage.kind is not StageKind.PUBLISH:
        secret = run.spec.hub.token_secret_ref
        found.append({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": secret.name, "key": secret.key}}})
    return found


def volumes(run: Run, task_config_map: str | None, *, shared_memory: bool = False) -> list[dict[str, Any]]:
    """Return a pod's volumes: the claim, a scratch folder, the task, and shared memory for torch."""
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
    """Return a container's mounts of ``volumes``."""
    data: dict[str, Any] = {"name": "data", "mountPath": MOUNT_PATH}
    if read_only_data:
        data["readOnly"] = True
    found: list[dict[str, Any]] = [data, {"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 -- a mount, not a file
    if task:
        found.append({"name": "task", "mountPath": TASK_DIRECTORY, "readOnly": True})
    if shared_memory:
        found.append({"name": "shm", "mountPath": "/dev/shm"})  # noqa: S108
    return found


def pod_spec(
    run: Run,
    settings: Settings,
    containers: list[dict[str, Any]],
    pod_volumes: list[dict[str, Any]],
    restart_policy: str,
) -> dict[str, Any]:
    """Return a pod spec under the restricted Pod Security Standard, without a service-account token."""
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
    if scheduling.priority_class_name:
        spec["priorityClassName"] = scheduling.priority_class_name
    if scheduling.node_selector:
        spec["nodeSelector"] = dict(scheduling.node_selector)
    if scheduling.tolerations:
        spec["tolerations"] = [t.model_dump(exclude_none=True) for t in scheduling.tolerations]
    if settings.images.pull_secrets:
        spec["imagePullSecrets"] = [{"name": n} for n in settings.images.pull_secrets]
    return spec


def container(name: str, image: str, command: list[str], settings: Settings, **fields: Any) -> dict[str, Any]:
    """Return a container; ``fields`` are Kubernetes' own (``env``, ``resources``, ``volumeMounts``, probes)."""
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": settings.images.pull_policy,
        "command": command,
        **fields,
        "securityContext": container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
