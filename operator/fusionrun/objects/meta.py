"""Parts that all child objects share: labels, owner, pod template, volumes, environment."""

from collections.abc import Iterable
from typing import Any

from fusionrun import names
from fusionrun.api.artifacts import MOUNT_PATH
from fusionrun.api.contract import Contract, Manifest
from fusionrun.api.pod import LOG_FORMAT_ENV, POD_UID_ENV, PROGRESS_URL_ENV, STALL_SECONDS_ENV, TASK_PATH
from fusionrun.api.spec.endpoints import SecretKeyRef, SecretRef
from fusionrun.api.spec.pods import PodSettings
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.plan.credentials import S3_KEYS, S3_MORE_KEYS
from fusionrun.plan.gpus import gpu_limits
from fusionrun.plan.kinds import HubAccess
from fusionrun.plan.pinned import Feature, Run
from fusionrun.plan.pods import pod_settings
from fusionrun.plan.stages import Stage
from fusionrun.settings import Settings

USER_ID = 1000
"""UID and GID of every pod (images/README.md), unless the cluster assigns them (``Settings.fixed_user``)."""
_USER = {"runAsUser": USER_ID, "runAsGroup": USER_ID, "fsGroup": USER_ID}
TMP = "/tmp"  # noqa: S108 -- a mount, not a file
"""The only writable directory of a pod's containers beside the claim."""
TASK_DIRECTORY = TASK_PATH.rsplit("/", 1)[0]
SHORT_RESOURCES: dict[str, Any] = {"requests": {"cpu": "50m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}}
"""Resources of an init container that only makes a directory or does nothing."""


def labels(run: Run, stage: Stage, attempt: int) -> dict[str, str]:
    """Return the labels of the objects of a stage. Labels of the FusionRun, such as Argo CD's, are not copied."""
    return {
        names.LABEL_NAME: "fusionrun",
        names.LABEL_COMPONENT: stage.kind.value,
        names.LABEL_MANAGED_BY: names.MANAGED_BY,
        names.LABEL_RUN: run.name,
        **uid_label(run),
        names.LABEL_STAGE: names.stage_label(stage.name),
        names.LABEL_ATTEMPT: str(attempt),
    }


def uid_label(run: Run) -> dict[str, str]:
    """Return the label with the UID of a run; none if an earlier release accepted it."""
    return {names.LABEL_RUN_UID: run.uid} if Feature.UID_LABEL in run.features else {}


def run_labels(run: Run) -> dict[str, str]:
    """Return the labels of an object that no single stage owns."""
    return {names.LABEL_NAME: "fusionrun", names.LABEL_MANAGED_BY: names.MANAGED_BY, names.LABEL_RUN: run.name}


def metadata(run: Run, name: str, all_labels: dict[str, str]) -> dict[str, Any]:
    """Return the metadata of an object. Kubernetes deletes the object together with its owner, the run."""
    owner = {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "name": run.name,
        "uid": run.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
    return {"name": name, "namespace": run.namespace, "labels": all_labels, "ownerReferences": [owner]}


def queue_labels(run: Run, stage: Stage) -> dict[str, str]:
    """Return the labels of Kueue, which then controls ``suspend``; the operator never sets that field.

    A server without GPUs has none: in the queue of its clients, it could wait behind them, and they for it.
    """
    scheduling = run.spec.scheduling
    if stage.gpus or Feature.GPU_QUEUE not in run.features:
        queue = scheduling.queue_name
    else:
        queue = None if stage.traits.is_server else scheduling.cpu_queue_name
    priority = scheduling.workload_priority_class_name
    return {names.LABEL_QUEUE: queue, **({names.LABEL_QUEUE_PRIORITY: priority} if priority else {})} if queue else {}


def config_map(run: Run, name: str, all_labels: dict[str, str], data: dict[str, str]) -> Manifest:
    """Build an immutable ConfigMap."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(run, name, all_labels),
        "immutable": True,
        "data": data,
    }


def environment(run: Run, stage: Stage, settings: Settings, *more: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the environment of a container of a stage, with ``more`` variables."""
    variables: list[dict[str, Any]] = [
        {"name": POD_UID_ENV, "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        {"name": "DO_NOT_TRACK", "value": "1"},
        {"name": "TQDM_DISABLE", "value": "1"},
    ]
    # Torch asks for the name of the user (getpass.getuser). UID 1000 has one in all images but vLLM's.
    if stage.traits.is_server or not settings.fixed_user:
        variables.append({"name": "USER", "value": "fusionrun"})
    # A pod that runs code of a model has no egress, so it cannot push its progress.
    if settings.progress_url and not stage.remote_code:
        variables.append({"name": PROGRESS_URL_ENV, "value": settings.progress_url})
    stall_seconds = run.spec.deadlines(stage.kind).stall_seconds
    if stall_seconds and Feature.RETRIES in run.features and not stage.traits.is_server:
        variables.append({"name": STALL_SECONDS_ENV, "value": str(stall_seconds)})
    if settings.log_format == "json" and not stage.traits.is_server:
        variables.append({"name": LOG_FORMAT_ENV, "value": "json"})
    for_torch = settings.cpu_environment if stage.traits.shared_memory else {}
    return [
        *variables,
        *_hub_environment(run.spec, stage.traits.hub),
        *(variable for variable in more if variable["name"] not in for_torch),
        *({"name": name, "value": value} for name, value in sorted(for_torch.items())),
    ]


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


def volumes(run: Run, stage: Stage, task_config_map: str, settings: Settings) -> list[dict[str, Any]]:
    """Return the volumes of a pod: the claim, ``/tmp``, the task, and shared memory for torch."""
    pod_volumes: list[dict[str, Any]] = [
        {"name": "data", "persistentVolumeClaim": {"claimName": run.spec.storage.claim_name}},
        {"name": "tmp", "emptyDir": _size_limit(settings.tmp_size_limit)},
    ]
    if not stage.traits.is_server:
        pod_volumes.append({"name": "task", "configMap": {"name": task_config_map}})
    if stage.traits.shared_memory:
        shared = {"medium": "Memory", **_size_limit(settings.shared_memory_size_limit)}
        pod_volumes.append({"name": "shm", "emptyDir": shared})
    return pod_volumes


def _size_limit(limit: str) -> dict[str, str]:
    return {"sizeLimit": limit} if limit else {}


def mounts(stage: Stage) -> list[dict[str, Any]]:
    """Return the mounts of ``volumes`` in a container. Servers and code of a model cannot write to the claim."""
    data: dict[str, Any] = {"name": "data", "mountPath": MOUNT_PATH}
    if stage.traits.is_server or stage.remote_code:
        data["readOnly"] = True
    container_mounts = [data, {"name": "tmp", "mountPath": TMP}]
    if not stage.traits.is_server:
        container_mounts.append({"name": "task", "mountPath": TASK_DIRECTORY, "readOnly": True})
    if stage.traits.shared_memory:
        container_mounts.append({"name": "shm", "mountPath": "/dev/shm"})  # noqa: S108
    return container_mounts


def sub_path(path: str, *, read_only: bool) -> dict[str, Any]:
    """Return a mount of one directory of the claim, at the path that it has in all pods."""
    mount: dict[str, Any] = {"name": "data", "mountPath": path, "subPath": path.removeprefix(f"{MOUNT_PATH}/")}
    if read_only:
        mount["readOnly"] = True
    return mount


def pod_spec(
    run: Run, stage: Stage, settings: Settings, container: dict[str, Any], pod_volumes: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return a pod spec under the restricted Pod Security Standard, without a service-account token.

    The settings of the pod (``plan.pods``) apply to the pod and to ``container``, which runs the stage. A capability
    that they add is the only thing that the standard refuses. Init containers get no variables and no volumes of them.
    """
    wanted = _settings(run, stage, settings, container)
    spec: dict[str, Any] = {
        "restartPolicy": stage.traits.workload.restart_policy,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            **(_USER if settings.fixed_user else {}),
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_with_settings(container, wanted)],
        "volumes": [*pod_volumes, *_plain(wanted.volumes)],
        **{name: value for name, value in wanted.model_dump(include=_POD_FIELDS, exclude_none=True).items() if value},
    }
    if settings.images.pull_secrets:
        spec["imagePullSecrets"] = [{"name": n} for n in settings.images.pull_secrets]
    return spec


_POD_FIELDS = {
    "node_selector", "tolerations", "affinity", "topology_spread_constraints", "priority_class_name",
    "scheduler_name", "runtime_class_name", "service_account_name",
}  # fmt: skip
"""Settings that are fields of a pod spec."""


def pod_template(
    run: Run, stage: Stage, settings: Settings, all_labels: dict[str, str], spec: dict[str, Any]
) -> dict[str, Any]:
    """Return the template of pods: ``all_labels``, the labels and annotations of the settings, and the pod spec."""
    wanted = _settings(run, stage, settings, spec["containers"][0])
    metadata_: dict[str, Any] = {"labels": wanted.labels | all_labels}
    if wanted.annotations:
        metadata_["annotations"] = dict(wanted.annotations)
    return {"metadata": metadata_, "spec": spec}


def _settings(run: Run, stage: Stage, settings: Settings, container: dict[str, Any]) -> PodSettings:
    gpus = gpu_limits(container["resources"].get("limits")).values()
    return pod_settings(run.spec, stage, settings, gpus=any(str(count) != "0" for count in gpus))


def _with_settings(container: dict[str, Any], wanted: PodSettings) -> dict[str, Any]:
    """Return the container of a stage with the variables, mounts and the capability of the settings.

    The variables come first: a value such as ``$(NAME)`` then cannot contain a variable of the operator, which may be
    a key. They replace those of the operator that are not reserved (``plan.pod_checks``): an optional key of a Secret,
    and ``cpuEnvironment``.
    """
    names_ = {variable.name for variable in wanted.env}
    own = [variable for variable in container["env"] if variable["name"] not in names_]
    changed = container | {
        "env": [*_plain(wanted.env), *own],
        "volumeMounts": [*container["volumeMounts"], *(m | {"readOnly": True} for m in _plain(wanted.volume_mounts))],
    }
    if wanted.ipc_lock:
        context = container["securityContext"]
        changed["securityContext"] = context | {"capabilities": context["capabilities"] | {"add": ["IPC_LOCK"]}}
    return changed


def _plain(values: Iterable[Contract]) -> list[dict[str, Any]]:
    return [value.model_dump(mode="json", exclude_none=True) for value in values]


def container(name: str, stage: Stage, command: list[str], settings: Settings, **fields: Any) -> dict[str, Any]:
    """Return a container in the image of a stage, under the restricted Pod Security Standard.

    ``fields`` are fields of the Kubernetes API, such as ``env``, ``resources`` and probes.
    """
    return {
        "name": name,
        "image": stage.traits.image(settings.images),
        "imagePullPolicy": settings.images.pull_policy,
        "command": command,
        **fields,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def short_container(name: str, stage: Stage, arguments: list[str], settings: Settings, **fields: Any) -> dict[str, Any]:
    """Return an init container that runs a line of Python and exits."""
    command = ["python", "-I", *arguments]
    return container(name, stage, command, settings, resources=SHORT_RESOURCES, **fields)


_MAKE_DIRECTORY = "import os, sys; os.makedirs(sys.argv[1], exist_ok=True)"


def make_directory(stage: Stage, path: str, settings: Settings) -> dict[str, Any]:
    """Return an init container that makes a directory of the claim, which another container mounts by ``subPath``.

    The kubelet makes a missing directory as root, and the user of the pod cannot write to it where ``fsGroup`` is not
    applied, as on NFS. The container ends before any foreign code starts.
    """
    mount = {"name": "data", "mountPath": MOUNT_PATH}
    return short_container("directory", stage, ["-c", _MAKE_DIRECTORY, path], settings, volumeMounts=[mount])
