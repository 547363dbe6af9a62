"""The fields of an object that the operator reads; only these are kept in memory.

Most of an object is never read: ``managedFields``, pod templates, volumes. ``trim`` copies the fields listed below and
shares equal strings between objects. A field that is not listed is absent: list it here before you read it.
"""

from collections.abc import Mapping
from functools import lru_cache
from sys import intern
from typing import Any

from fusionrun.api.contract import Manifest
from fusionrun.api.pod import COMPLETION_INDEX_ANNOTATION
from fusionrun.names import (
    ANNOTATION_RETRY,
    ANNOTATION_REVISION,
    ANNOTATION_TASK,
    KIND,
    LABEL_ARTIFACT,
    LABEL_ATTEMPT,
    LABEL_COMPONENT,
    LABEL_QUEUE,
    LABEL_QUEUE_MANAGED,
    LABEL_QUEUE_OWNER,
    LABEL_QUEUE_PRIORITY,
    LABEL_RUN,
    LABEL_STAGE,
)
from fusionrun.state.observe.gpu_pods import has_devices
from fusionrun.state.observe.object_fields import WORKLOADS, has_ended, is_end, pod_phase

Fields = Mapping[str, Any]
"""Fields to keep: each with the fields to keep in it, or None to keep all of it."""

SHARED_CHARACTERS = 64
"""Longest string that objects share: names, UIDs, timestamps and reasons repeat, longer texts do not."""

SHARED_OWNERS = 1024
"""Number of lists of owners that are remembered. All workloads of a run share one, which nothing modifies."""


def _whole(*names: str) -> dict[str, None]:
    return dict.fromkeys(names)


_IDENTITY: Fields = {
    **_whole("name", "namespace", "uid", "resourceVersion", "deletionTimestamp"),
    "labels": _whole(
        LABEL_RUN,
        LABEL_STAGE,
        LABEL_ATTEMPT,
        LABEL_ARTIFACT,
        LABEL_COMPONENT,
        LABEL_QUEUE,
        LABEL_QUEUE_MANAGED,
        LABEL_QUEUE_PRIORITY,
    ),
}
_METADATA: Fields = {
    **_IDENTITY,
    **_whole("generation", "creationTimestamp"),
    "ownerReferences": _whole("kind", "name", "uid"),
    "annotations": _whole(COMPLETION_INDEX_ANNOTATION, ANNOTATION_TASK, ANNOTATION_RETRY, ANNOTATION_REVISION),
}
_CONDITIONS: Fields = _whole("type", "status", "reason", "message", "lastTransitionTime")
_CONTAINER_STATE: Fields = {
    "waiting": _whole("reason", "message"),
    "running": _whole("startedAt"),
    "terminated": _whole("exitCode", "signal", "reason", "message", "startedAt", "finishedAt"),
}
_CONTAINER: Fields = {
    **_whole("name", "started", "restartCount"),
    "state": _CONTAINER_STATE,
    "lastState": _CONTAINER_STATE,
}

_DEVICES: Fields = {"nodeSelector": None, "containers": {"resources": {"limits": None}}}
"""Fields of the spec of a pod from which its GPU time and cost are computed, if it has extended resources."""

_KEPT: dict[str, Fields] = {
    KIND: {"metadata": _METADATA, **_whole("spec", "status")},
    "Job": {
        "metadata": _METADATA,
        "spec": _whole("backoffLimit", "backoffLimitPerIndex", "suspend", "parallelism", "completions"),
        "status": {
            **_whole("startTime", "completionTime", "succeeded", "failedIndexes"),
            "conditions": _CONDITIONS,
        },
    },
    "PyTorchJob": {
        "metadata": _METADATA,
        "spec": {"runPolicy": _whole("suspend")},
        "status": {**_whole("startTime", "completionTime"), "conditions": _CONDITIONS},
    },
    "TrainJob": {"metadata": _METADATA, "spec": _whole("suspend"), "status": {"conditions": _CONDITIONS}},
    "Deployment": {
        "metadata": _METADATA,
        "spec": {
            **_whole("replicas"),
            "selector": {"matchLabels": None},
            "template": {"spec": {"containers": _whole("startupProbe")}},
        },
        "status": {"readyReplicas": None, "conditions": _CONDITIONS},
    },
    "Service": {"metadata": _METADATA, "spec": {"selector": None, "ports": _whole("port", "targetPort")}},
    "ConfigMap": {"metadata": _METADATA, "data": None},
    "Workload": {
        "metadata": {"name": None, "labels": {LABEL_QUEUE_OWNER: None}},
        "spec": {"active": None},
        "status": {"conditions": _CONDITIONS, "admissionChecks": _whole("name", "state", "message")},
    },
    "Pod": {
        "metadata": _METADATA,
        "spec": {**_whole("nodeName", "hostNetwork"), **_DEVICES},
        "status": {
            **_whole("phase", "reason", "message", "podIP", "startTime"),
            "conditions": _CONDITIONS,
            "containerStatuses": _CONTAINER,
            "initContainerStatuses": _CONTAINER,
        },
    },
}
_OTHER_KIND: Fields = {"metadata": _METADATA}

_SUCCEEDED_POD: Fields = {
    "metadata": {k: v for k, v in _METADATA.items() if k not in ("generation", "creationTimestamp")},
    "spec": _DEVICES,
    "status": {
        **_whole("phase", "startTime"),
        "containerStatuses": {"state": {"terminated": _whole("exitCode", "message", "finishedAt")}},
    },
}
"""A succeeded pod: its result, and the time for which it used its GPUs."""

_OF_FINISHED_RUN: Fields = {"metadata": {**_IDENTITY, "ownerReferences": _whole("name", "uid")}}
"""An object of a finished run: enough to delete it."""
_ENDED_WORKLOAD: Fields = {
    **_OF_FINISHED_RUN,
    "status": {"completionTime": None, "conditions": _whole("type", "status", "reason", "lastTransitionTime")},
}
"""An ended workload of a finished run: other runs want to know which artifacts it has made."""
_ENDED_POD: Fields = {"metadata": _IDENTITY}
_FAILED_POD: Fields = {
    "metadata": _IDENTITY,
    "status": {"phase": None, "containerStatuses": {"state": {"terminated": _whole("finishedAt")}}},
}
"""A failed pod of a finished run: a pod that was terminating when the run ended."""

_DATA_IS_READ = frozenset({None, "resolve"})
"""Stage labels of the ConfigMaps whose data is read: those of the run itself have none, and the task of ``resolve``."""


def trim(manifest: Manifest, *, finished: bool) -> Manifest:
    """Return a copy of an object with only the fields that are read; fewer if its run is ``finished``."""
    fields = _fields_of_finished_run(manifest) if finished else _fields(manifest)
    kept: Manifest = _kept(manifest, fields)
    if fields is _ENDED_WORKLOAD:
        kept["status"]["conditions"] = [c for c in kept["status"]["conditions"] if is_end(c)]
    if owners := kept["metadata"].get("ownerReferences"):
        kept["metadata"]["ownerReferences"] = _owners(tuple(tuple(owner.items()) for owner in owners))
    return {"apiVersion": intern(manifest["apiVersion"]), "kind": intern(manifest["kind"]), **kept}


def _fields(manifest: Manifest) -> Fields:
    kind = manifest["kind"]
    fields = _KEPT.get(kind, _OTHER_KIND)
    if kind == "ConfigMap" and (manifest["metadata"].get("labels") or {}).get(LABEL_STAGE) not in _DATA_IS_READ:
        return _OTHER_KIND
    if kind == "Pod" and pod_phase(manifest) == "Succeeded":
        fields = _SUCCEEDED_POD
    if kind == "Pod" and not has_devices(manifest):
        spec = {name: below for name, below in (fields.get("spec") or {}).items() if name not in _DEVICES}
        fields = {**fields, "spec": spec}
    return fields


def _fields_of_finished_run(manifest: Manifest) -> Fields:
    kind = manifest["kind"]
    if kind == "Pod":
        return _FAILED_POD if pod_phase(manifest) == "Failed" else _ENDED_POD
    if kind in WORKLOADS:  # one that still runs is deleted
        return _ENDED_WORKLOAD if has_ended(manifest) else _KEPT[kind]
    return _KEPT[kind] if kind == KIND else _OF_FINISHED_RUN


@lru_cache(maxsize=SHARED_OWNERS)
def _owners(items: tuple[tuple[tuple[str, str], ...], ...]) -> list[dict[str, str]]:
    """Return the owners with these fields: the same list for equal ones."""
    return [dict(owner) for owner in items]


def _kept(value: Any, fields: Fields | None) -> Any:
    """Copy the listed fields of a value, or of each item of a list; None copies all fields."""
    if isinstance(value, dict):
        if fields is None:
            return {intern(name): _kept(below, None) for name, below in value.items()}
        return {
            name: _kept(value[name], below)
            for name, below in fields.items()
            if value.get(name) is not None and (below is None or value[name])
        }
    if isinstance(value, list):
        return [_kept(item, fields) for item in value]
    if type(value) is str and len(value) <= SHARED_CHARACTERS:
        return intern(value)
    return value
