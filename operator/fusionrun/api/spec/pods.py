"""Fields of a FusionRun on its pods, with the names and types that they have in a pod of Kubernetes.

None is part of a digest, and all may change during a run. What is not here cannot be set: images, commands, the network
and the processes of the node, its files (``hostPath``), users and privileges.
"""

from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema

from fusionrun.api.contract import Contract

OPEN = WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True})
"""Any object in the CRD. The operator checks its fields when it accepts the run; as a schema, the seven copies of the
affinity would be most of the CRD."""

LabelKey = Annotated[str, Field(min_length=1, max_length=317)]
LabelValue = Annotated[str, Field(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$", max_length=63)]
"""Source: Kubernetes, "Labels and Selectors", syntax and character set."""
ObjectName = Annotated[str, Field(min_length=1, max_length=253)]


class LabelRequirement(Contract):
    """A requirement on the labels of a pod: ``matchExpressions`` of a label selector."""

    key: LabelKey
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: list[LabelValue] | None = None


class LabelSelector(Contract):
    """A selector of pods."""

    match_labels: dict[str, LabelValue] | None = None
    match_expressions: list[LabelRequirement] | None = None


class NodeRequirement(Contract):
    """A requirement on the labels or fields of a node."""

    key: LabelKey
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    values: list[str] | None = None


class NodeTerm(Contract):
    """Requirements that one node meets together: ``nodeSelectorTerms`` and ``preference``."""

    match_expressions: list[NodeRequirement] | None = None
    match_fields: list[NodeRequirement] | None = None


class NodeTerms(Contract):
    """Terms of which a node must meet one."""

    node_selector_terms: Annotated[list[NodeTerm], Field(min_length=1)]


Weight = Annotated[int, Field(ge=1, le=100)]


class PreferredNodeTerm(Contract):
    """A term that a node should meet."""

    weight: Weight
    preference: NodeTerm


class NodeAffinity(Contract):
    """The nodes that a pod needs or prefers."""

    required_during_scheduling_ignored_during_execution: NodeTerms | None = None
    preferred_during_scheduling_ignored_during_execution: list[PreferredNodeTerm] | None = None


class PodTerm(Contract):
    """Pods of the namespace, and the label of nodes that says which nodes count as one place."""

    label_selector: LabelSelector | None = None
    topology_key: LabelKey
    match_label_keys: list[LabelKey] | None = None
    mismatch_label_keys: list[LabelKey] | None = None


class PreferredPodTerm(Contract):
    """A term that a place should meet."""

    weight: Weight
    pod_affinity_term: PodTerm


class PodAffinity(Contract):
    """The pods next to which a pod is placed, or not placed."""

    required_during_scheduling_ignored_during_execution: list[PodTerm] | None = None
    preferred_during_scheduling_ignored_during_execution: list[PreferredPodTerm] | None = None


class Affinity(Contract):
    """``affinity`` of a pod. Terms name no other namespaces.

    Source: Kubernetes, core/v1, Affinity (v1.34).
    """

    node_affinity: NodeAffinity | None = None
    pod_affinity: PodAffinity | None = None
    pod_anti_affinity: PodAffinity | None = None


class TopologySpreadConstraint(Contract):
    """How pods are spread over places.

    Source: Kubernetes, core/v1, TopologySpreadConstraint (v1.34).
    """

    max_skew: Annotated[int, Field(ge=1)]
    topology_key: LabelKey
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"]
    label_selector: LabelSelector | None = None
    match_label_keys: list[LabelKey] | None = None
    min_domains: Annotated[int, Field(ge=1)] | None = None
    node_affinity_policy: Literal["Honor", "Ignore"] | None = None
    node_taints_policy: Literal["Honor", "Ignore"] | None = None


class Toleration(Contract):
    """A Kubernetes toleration."""

    key: Annotated[str, Field(max_length=316)] | None = None
    """Key of the taint. If omitted, with operator Exists, every taint matches."""
    operator: Literal["Exists", "Equal"] | None = None
    """How the key relates to the value. If omitted, Kubernetes uses Equal."""
    value: Annotated[str, Field(max_length=63)] | None = None
    """Value of the taint, for operator Equal. If omitted, the value is empty."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint. If omitted, every effect matches."""
    toleration_seconds: Annotated[int, Field(ge=0)] | None = None
    """Seconds that a pod stays on a node with such a taint, for effect NoExecute. If omitted, it stays."""


class PodScheduling(Contract):
    """Labels, annotations and scheduling of pods."""

    labels: Annotated[dict[str, LabelValue], Field(max_length=32)] = {}
    """Labels of the pods. Labels of the operator, of Kubernetes, Kueue, Argo CD, Flux and Helm are not allowed."""
    annotations: Annotated[dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=32)] = {}
    """Annotations of the pods, such as ``sidecar.istio.io/inject: "false"``."""
    node_selector: Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=32)] | None = None
    """Labels that a node must have to run the pods. If omitted, every node is eligible."""
    tolerations: Annotated[list[Toleration], Field(max_length=32)] = []
    """Tolerations of the pods."""
    affinity: Annotated[Affinity, OPEN] | None = None
    """Affinity of the pods, as ``affinity`` of a pod. Terms on pods may not name other namespaces. If omitted, the pods
    have none."""
    topology_spread_constraints: Annotated[list[Annotated[TopologySpreadConstraint, OPEN]], Field(max_length=16)] = []
    """How the pods are spread over nodes or zones, as ``topologySpreadConstraints`` of a pod."""
    priority_class_name: Annotated[str, Field(max_length=253)] | None = None
    """PriorityClass of the pods. If omitted, the cluster's default applies."""
    scheduler_name: ObjectName | None = None
    """Scheduler of the pods. If omitted, the cluster's default scheduler is used."""


class KeySelector(Contract):
    """A key of a Secret or of a ConfigMap in the run's namespace."""

    name: ObjectName
    """Name of the object."""
    key: ObjectName
    """Key in its data."""


class FieldSelector(Contract):
    """A field of the pod."""

    field_path: Literal[
        "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
        "status.hostIP", "status.podIP"
    ]  # fmt: skip
    """Path of the field."""


class EnvVarSource(Contract):
    """Where the value of a variable comes from: exactly one of the fields."""

    secret_key_ref: KeySelector | None = None
    """A key of a Secret. If omitted, another field is required."""
    config_map_key_ref: KeySelector | None = None
    """A key of a ConfigMap. If omitted, another field is required."""
    field_ref: FieldSelector | None = None
    """A field of the pod. If omitted, another field is required."""


class EnvVar(Contract):
    """An environment variable: exactly one of ``value`` and ``valueFrom`` is required."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=128)]
    """Name of the variable."""
    value: Annotated[str, Field(max_length=4096)] | None = None
    """Value of the variable. If omitted, ``valueFrom`` is required."""
    value_from: EnvVarSource | None = None
    """Where the value comes from. If omitted, ``value`` is required."""


class KeyToPath(Contract):
    """A key of a Secret or ConfigMap, and its file in the volume."""

    key: ObjectName
    """Key in the data."""
    path: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$", max_length=253)]
    """Path of the file, relative to the volume."""


class ConfigMapVolume(Contract):
    """Files from a ConfigMap in the run's namespace."""

    name: ObjectName
    """Name of the ConfigMap."""
    items: Annotated[list[KeyToPath], Field(max_length=32)] | None = None
    """Keys that become files. If omitted, each key becomes a file of its name."""


class SecretVolume(Contract):
    """Files from a Secret in the run's namespace."""

    secret_name: ObjectName
    """Name of the Secret."""
    items: Annotated[list[KeyToPath], Field(max_length=32)] | None = None
    """Keys that become files. If omitted, each key becomes a file of its name."""


class Volume(Contract):
    """A volume: exactly one of ``configMap`` and ``secret`` is required."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
    """Unique name of the volume."""
    config_map: ConfigMapVolume | None = None
    """Files from a ConfigMap. If omitted, ``secret`` is required."""
    secret: SecretVolume | None = None
    """Files from a Secret. If omitted, ``configMap`` is required."""


MOUNT_FOLDERS = ("/mnt/", "/etc/ssl/certs/")
"""Folders below which files may be mounted. A file elsewhere could replace code of the image."""


class VolumeMount(Contract):
    """A place at which the container of a stage sees a volume. All are read-only."""

    name: Annotated[str, Field(max_length=63)]
    """Name of a volume of the same pod settings."""
    mount_path: Annotated[str, Field(pattern=r"^/(mnt|etc/ssl/certs)/[A-Za-z0-9_][A-Za-z0-9._/-]*$", max_length=253)]
    """Path in the container: below ``/mnt/``, or below ``/etc/ssl/certs/`` to replace certificates of the image."""
    sub_path: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._/-]*$", max_length=253)] | None = None
    """One file or folder of the volume. If omitted, the whole volume is mounted."""


class PodSettings(PodScheduling):
    """Settings of the pods of one part of the spec, with the names that they have in a pod.

    They extend and override the settings of ``scheduling``, which do the same with those of the operator: maps by key,
    ``env`` and ``volumes`` by name, ``volumeMounts`` by path; tolerations and spread constraints are added; other
    fields are replaced.
    """

    runtime_class_name: ObjectName | None = None
    """RuntimeClass of the pods. If omitted, pods with GPUs use ``scheduling.gpuRuntimeClassName``."""
    service_account_name: ObjectName | None = None
    """ServiceAccount of the pods, for workload identity. No pod gets a token for the Kubernetes API. Not allowed for
    a model with ``trustRemoteCode``. If omitted, the namespace's default is used."""
    env: Annotated[list[EnvVar], Field(max_length=64)] = []
    """Environment variables of the container that runs the stage, such as ``NCCL_SOCKET_IFNAME`` or ``HTTPS_PROXY``.
    Variables that the operator sets are not allowed; the administrator decides on the others."""
    volumes: Annotated[list[Volume], Field(max_length=16)] = []
    """Volumes from ConfigMaps and Secrets, such as a private CA. Secrets are not allowed for a model with
    ``trustRemoteCode``."""
    volume_mounts: Annotated[list[VolumeMount], Field(max_length=32)] = []
    """Where the container that runs the stage sees the volumes."""
    ipc_lock: bool = False
    """Add the capability IPC_LOCK, with which RDMA locks memory. The baseline and restricted Pod Security Standards
    refuse such pods, so the namespace must not enforce them, and the administrator must allow it. Not allowed for a
    model with ``trustRemoteCode``."""
