"""What the settings of pods must not contain, whoever accepted the run: names that the operator or others own.

Which of the other names a run may use is a setting of the operator (``plan.policy``).
"""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase

from fusionrun.api.spec.pods import EnvVar, PodSettings, Volume
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.errors import SpecError
from fusionrun.plan.pods import ISOLATED_KEYS, Part, parts
from fusionrun.settings import Settings

RESERVED_LABELS = {
    "fusionrun.dev/*": "the operator sets it",
    "app.kubernetes.io/name": "the operator sets it",
    "app.kubernetes.io/component": "the operator sets it",
    "app.kubernetes.io/managed-by": "the operator sets it",
    "app.kubernetes.io/instance": "Argo CD would delete the pods",
    "argocd.argoproj.io/*": "Argo CD would delete the pods",
    "*.toolkit.fluxcd.io/*": "Flux would delete the pods",
    "helm.sh/*": "Helm sets it",
    "kueue.x-k8s.io/*": "use scheduling.queueName",
    "batch.kubernetes.io/*": "Kubernetes sets it",
    "job-name": "Kubernetes sets it",
    "controller-uid": "Kubernetes sets it",
    "pod-template-hash": "Kubernetes sets it",
    "training.kubeflow.org/*": "the training operator sets it",
    "trainer.kubeflow.org/*": "Kubeflow Trainer sets it",
    "jobset.sigs.k8s.io/*": "JobSet sets it",
}
"""Labels by which controllers find their pods.

Source: Argo CD, "Resource Tracking"; Flux, "Kustomization", garbage collection.
"""
RESERVED_ANNOTATIONS = {
    "fusionrun.dev/*": "the operator sets it",
    "argocd.argoproj.io/*": "Argo CD would delete the pods",
    "*.toolkit.fluxcd.io/*": "Flux would delete the pods",
    "helm.sh/*": "Helm sets it",
    "meta.helm.sh/*": "Helm sets it",
    "batch.kubernetes.io/*": "Kubernetes sets it",
    "container.apparmor.security.beta.kubernetes.io/*": "the profile of the container runtime applies",
    "container.seccomp.security.alpha.kubernetes.io/*": "the profile of the container runtime applies",
    "seccomp.security.alpha.kubernetes.io/*": "the profile of the container runtime applies",
}
RESERVED_VARIABLES = {
    "FUSIONRUN_*": "the operator sets it",
    "VLLM_API_KEY": "the operator sets it",
    "HF_TOKEN": "use hub.tokenSecretRef or publish.tokenSecretRef",
    "HF_ENDPOINT": "use hub.endpoint",
    "HF_HUB_OFFLINE": "only stages that download or publish reach a hub",
    "HF_DATASETS_OFFLINE": "only stages that download or publish reach a hub",
    "TRANSFORMERS_OFFLINE": "only stages that download or publish reach a hub",
    "AWS_ACCESS_KEY_ID": "use s3.secretRef or publish.s3SecretRef",
    "AWS_SECRET_ACCESS_KEY": "use s3.secretRef or publish.s3SecretRef",
    "AWS_SESSION_TOKEN": "use s3.secretRef or publish.s3SecretRef",
    "CUDA_VISIBLE_DEVICES": "the GPUs of a pod are those in its resources",
    "NVIDIA_VISIBLE_DEVICES": "the GPUs of a pod are those in its resources",
    "JOB_COMPLETION_INDEX": "Kubernetes sets it",
    "PET_*": "the training backend sets it",
    "MASTER_ADDR": "the training backend sets it",
    "MASTER_PORT": "the training backend sets it",
    "WORLD_SIZE": "the training backend sets it",
    "RANK": "the training backend sets it",
    "LOCAL_RANK": "the training backend sets it",
}
RESERVED_VOLUMES = ("data", "tmp", "task", "shm", "socket", "judge-tmp", "program-*")
"""Volumes of the operator (``objects``)."""

_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
"""A qualified name. Source: Kubernetes, "Labels and Selectors", syntax and character set."""
ANNOTATIONS_MAX_BYTES = 64 * 1024
"""Of the annotations of a pod from one place of the spec. Source: Kubernetes allows 256 KiB for all."""


def check_pods(spec: FusionRunSpec) -> Iterator[SpecError]:
    """Check the settings of the pods of a run."""
    for part in parts(spec):
        yield from _part(part)
    if spec.reward_model.endpoint and spec.reward_model.pod:
        yield SpecError("rewardModel.pod", "", "is forbidden with endpoint: use dataStages.pod")


def check_defaults(settings: Settings) -> Iterator[SpecError]:
    """Check the settings of pods in the settings of the operator. Names of a namespace are for runs only."""
    for name, defaults in (("pod_defaults", settings.pod_defaults), ("gpu_pod_defaults", settings.gpu_pod_defaults)):
        yield from _part(Part(name, defaults))
        yield from _rights(name, defaults, "belongs to the runs: set it in the pod of a part of their spec")


def _part(part: Part) -> Iterator[SpecError]:
    field, settings = part.field, part.settings
    yield from _keys(f"{field}.labels", settings.labels, RESERVED_LABELS)
    yield from _keys(f"{field}.annotations", settings.annotations, RESERVED_ANNOTATIONS)
    size = sum(len(key) + len(value.encode()) for key, value in settings.annotations.items())
    if size > ANNOTATIONS_MAX_BYTES:
        yield SpecError(f"{field}.annotations", f"{size} bytes", f"must have at most {ANNOTATIONS_MAX_BYTES} bytes")
    if part.isolated:
        yield from _isolated(part)
    if isinstance(settings, PodSettings):
        yield from _variables(f"{field}.env", settings.env)
        yield from _volumes(field, settings)


def _keys(field: str, values: dict[str, str], reserved: dict[str, str]) -> Iterator[SpecError]:
    for key in values:
        if not _KEY.fullmatch(key):
            yield SpecError(
                field, key, "must be a name of at most 63 characters, with a DNS prefix and a slash or none"
            )
        elif reason := _reserved(key, reserved):
            yield SpecError(field, key, f"is reserved: {reason}")


def _reserved(name: str, reserved: dict[str, str]) -> str:
    return next((reason for pattern, reason in reserved.items() if fnmatchcase(name, pattern)), "")


def _isolated(part: Part) -> Iterator[SpecError]:
    """Check pods that run foreign code: nothing may open their network, or give them an identity or a Secret."""
    settings = part.settings
    rule = f"is not allowed for pods that run foreign code; allowed are {', '.join(sorted(ISOLATED_KEYS))}"
    for name, keys in (("labels", settings.labels), ("annotations", settings.annotations)):
        for key in keys:
            if key not in ISOLATED_KEYS:
                yield SpecError(f"{part.field}.{name}", key, rule)
    if isinstance(settings, PodSettings):
        yield from _rights(part.field, settings, "is not allowed for a model with trustRemoteCode")


def _rights(field: str, settings: PodSettings, rule: str) -> Iterator[SpecError]:
    """Refuse what gives a pod rights: Secrets, an identity, a capability."""
    for variable in settings.env:
        if variable.value_from and (ref := variable.value_from.secret_key_ref):
            yield SpecError(f"{field}.env[{variable.name}].valueFrom.secretKeyRef", ref.name, rule)
    for volume in settings.volumes:
        if volume.secret:
            yield SpecError(f"{field}.volumes[{volume.name}].secret", volume.secret.secret_name, rule)
    if settings.service_account_name:
        yield SpecError(f"{field}.serviceAccountName", settings.service_account_name, rule)
    if settings.ipc_lock:
        yield SpecError(f"{field}.ipcLock", value=True, rule=rule)


def _variables(field: str, variables: list[EnvVar]) -> Iterator[SpecError]:
    seen = set[str]()
    for variable in variables:
        name, source = variable.name, variable.value_from
        if name in seen:
            yield SpecError(field, name, "must be unique")
        seen.add(name)
        if reason := _reserved(name, RESERVED_VARIABLES):
            yield SpecError(field, name, f"is reserved: {reason}")
        if (variable.value is None) == (source is None):
            yield SpecError(f"{field}[{name}]", variable.value, "exactly one of value and valueFrom is required")
        if source and sum(map(bool, (source.secret_key_ref, source.config_map_key_ref, source.field_ref))) != 1:
            rule = "exactly one of secretKeyRef, configMapKeyRef and fieldRef is required"
            yield SpecError(f"{field}[{name}].valueFrom", "", rule)


def _volumes(field: str, settings: PodSettings) -> Iterator[SpecError]:
    names = [volume.name for volume in settings.volumes]
    for volume in settings.volumes:
        yield from _volume(f"{field}.volumes", volume, names)
    for mount in settings.volume_mounts:
        place = f"{field}.volumeMounts[{mount.mount_path}]"
        if mount.name not in names:
            yield SpecError(f"{place}.name", mount.name, f"must be the name of a volume in {field}.volumes")
        for name, path in (("mountPath", mount.mount_path), ("subPath", mount.sub_path or "")):
            if ".." in path.split("/"):
                yield SpecError(f"{place}.{name}", path, "must not contain '..'")


def _volume(field: str, volume: Volume, names: list[str]) -> Iterator[SpecError]:
    if names.count(volume.name) > 1:
        yield SpecError(field, volume.name, "must be unique")
    if any(fnmatchcase(volume.name, pattern) for pattern in RESERVED_VOLUMES):
        yield SpecError(field, volume.name, "is reserved: the operator has a volume of this name")
    if (volume.config_map is None) == (volume.secret is None):
        yield SpecError(f"{field}[{volume.name}]", "", "exactly one of configMap and secret is required")
