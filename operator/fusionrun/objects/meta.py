"""What every child object has in common: labels, owner, pod template, volumes, environment."""

from dataclasses import dataclass
from typing import Any

from fusionrun import names
from fusionrun.api.artifacts import MOUNT_PATH
from fusionrun.api.models import Manifest, Resources, SecretKeyRef, SecretRef
from fusionrun.api.spec import FusionRunSpec, Scheduling
from fusionrun.api.stage import StageKind
from fusionrun.api.task import PROGRESS_URL_ENV, TASK_PATH
from fusionrun.plan.build import GPU_SUFFIX
from fusionrun.plan.stages import Stage
from fusionrun.settings import Settings

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
"""Source: Kueue, "Run Jobs": the LocalQueue that an object is queued in."""
USER_ID = 1000
"""UID and GID of every pod of ours (images/README.md)."""
TASK_DIRECTORY = TASK_PATH.rsplit("/", 1)[0]
ONLINE = frozenset({StageKind.RESOLVE, StageKind.FETCH, StageKind.PUBLISH})
"""Kinds that may talk to a hub; every other pod runs offline and without a token."""
S3_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
"""Keys that a Secret for an object store must have: the names that its clients read from the environment."""
S3_MORE_KEYS = ("AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL")
"""Keys that it may have. Only these are handed on: a Secret's other keys could name any variable of a program."""


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
        found[QUEUE_LABEL] = scheduling.queue_name
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


def runs_remote_code(run: Run, stage: Stage) -> bool:
    """Tell whether a stage's pods run Python code that came with a model."""
    if stage.kind is StageKind.SCORE:
        model = run.spec.reward_model.model
        return model is not None and model.trust_remote_code
    served = {f"serve/{s.name}": s.served.model for s in run.spec.sources if s.served}
    return stage.name in served and served[stage.name].trust_remote_code


def environment(run: Run, stage: Stage, settings: Settings) -> list[dict[str, Any]]:
    """Return the environment of a stage's program."""
    found: list[dict[str, Any]] = [
        {"name": "FUSIONRUN_POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        {"name": "DO_NOT_TRACK", "value": "1"},
        {"name": "TQDM_DISABLE", "value": "1"},
    ]
    # A program that runs foreign code reaches nobody: what it would push is not even tried.
    if settings.progress_url and not runs_remote_code(run, stage):
        found.append({"name": PROGRESS_URL_ENV, "value": settings.progress_url})
    if stage.kind not in ONLINE:
        found += [
            {"name": "HF_HUB_OFFLINE", "value": "1"},
            {"name": "HF_DATASETS_OFFLINE", "value": "1"},
            {"name": "TRANSFORMERS_OFFLINE", "value": "1"},
        ]
    else:
        found += _credentials(run, stage)
    return found


def _credentials(run: Run, stage: Stage) -> list[dict[str, Any]]:
    """Return the credentials of a stage that talks to a hub or an object store, by reference.

    Those for reading are for the stages that read, and those for writing for the one that writes.
    """
    hub, s3, publish = run.spec.hub, run.spec.s3, run.spec.publish
    if stage.kind is StageKind.PUBLISH:
        return [*_hub_token(publish.token_secret_ref), *_s3_keys(publish.s3_secret_ref)] if publish else []
    return [*_hub_token(hub.token_secret_ref if hub else None), *_s3_keys(s3.secret_ref if s3 else None)]


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


def sub_path(path: str, *, read_only: bool) -> dict[str, Any]:
    """Return a mount of one directory of the claim, where it lies in every other pod."""
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

    A pod that holds GPUs gets ``scheduling.gpuRuntimeClassName``.
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
    limits = one["resources"].get("limits", {})
    return any(name.endswith(GPU_SUFFIX) and str(count) != "0" for name, count in limits.items())


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
