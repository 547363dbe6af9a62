"""The objects of a measurement: a namespace, a claim, Secrets and the runs.

All have ``LABEL``. Objects without it are never deleted or changed.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kubernetes import client, watch
from shapes import BATCH_LABEL, LABEL, Workload

from fusionrun.names import GROUP, PLURAL, VERSION

NAMESPACE = "fusionrun-bench"
VOLUME = "fusionrun-bench"
CREATES_AT_ONCE = 8
SELECTOR = f"{LABEL}=true"
_CONFLICT, _NOT_FOUND = 409, 404


def prepare(workload: Workload) -> None:
    """Create the namespace, the claim and the Secrets that are missing.

    The volume has no files, since no pod mounts it.

    Raises
    ------
    SystemExit
        If the namespace exists without the label.
    """
    core = client.CoreV1Api()
    labels = {LABEL: "true"}
    restricted = labels | {"pod-security.kubernetes.io/enforce": "restricted"}
    _create(core.create_namespace, body={"metadata": {"name": NAMESPACE, "labels": restricted}})
    if (core.read_namespace(NAMESPACE).metadata.labels or {}).get(LABEL) != "true":
        raise SystemExit(f"bench-scale: namespace {NAMESPACE} exists without the label {LABEL}=true")
    size = {"storage": "1Ti"}
    volume = {
        "capacity": size,
        "accessModes": ["ReadWriteMany"],
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": "",
        "hostPath": {"path": "/nonexistent"},
        "claimRef": {"namespace": NAMESPACE, "name": workload.claim},
    }
    claim = {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "",
        "volumeName": VOLUME,
        "resources": {"requests": size},
    }
    _create(core.create_persistent_volume, body={"metadata": {"name": VOLUME, "labels": labels}, "spec": volume})
    metadata = {"name": workload.claim, "labels": labels}
    _create(core.create_namespaced_persistent_volume_claim, NAMESPACE, body={"metadata": metadata, "spec": claim})
    for name, key in workload.secrets:
        secret = {"metadata": {"name": name, "labels": labels}, "stringData": {key: "unused"}}
        _create(core.create_namespaced_secret, NAMESPACE, body=secret)


def _create(create: Callable[..., Any], *arguments: Any, body: dict[str, Any]) -> None:
    try:
        create(*arguments, body)
    except client.ApiException as error:
        if error.status != _CONFLICT:
            raise


def nodes() -> int:
    """Return the number of nodes of earlier measurements."""
    return len(client.CoreV1Api().list_node(label_selector=SELECTOR).items)


def create_runs(workload: Workload) -> None:
    """Create all runs concurrently."""
    custom = client.CustomObjectsApi()
    with ThreadPoolExecutor(CREATES_AT_ONCE) as pool:
        for made in [
            pool.submit(custom.create_namespaced_custom_object, GROUP, VERSION, NAMESPACE, PLURAL, manifest)
            for manifest in workload.manifests()
        ]:
            made.result()


def runs() -> dict[str, bool]:
    """Return the runs of the namespace by name, and whether each is finished."""
    try:
        found = client.CustomObjectsApi().list_namespaced_custom_object(
            GROUP, VERSION, NAMESPACE, PLURAL, label_selector=SELECTOR
        )
    except client.ApiException as error:
        if error.status == _NOT_FOUND:
            return {}
        raise
    return {
        run["metadata"]["name"]: any(
            c["type"] == "Finished" and c["status"] == "True" for c in (run.get("status") or {}).get("conditions") or []
        )
        for run in found["items"]
    }


def delete_runs(batch: str) -> None:
    """Delete the runs of a batch. Their objects are garbage-collected."""
    client.CustomObjectsApi().delete_collection_namespaced_custom_object(
        GROUP, VERSION, NAMESPACE, PLURAL, label_selector=f"{SELECTOR},{BATCH_LABEL}={batch}"
    )


def delete_namespace(seconds: int) -> None:
    """Delete the namespace with its objects, and wait until it is deleted, so that no pod is left on the nodes.

    Raises
    ------
    SystemExit
        If it is not deleted after this many seconds.
    """
    core = client.CoreV1Api()
    found = core.list_namespace(label_selector=SELECTOR, field_selector=f"metadata.name={NAMESPACE}")
    if not found.items:
        return
    core.delete_namespace(NAMESPACE)
    events = watch.Watch().stream(
        core.list_namespace,
        field_selector=f"metadata.name={NAMESPACE}",
        resource_version=found.metadata.resource_version,
        timeout_seconds=seconds,
    )
    for event in events:
        if event["type"] == "DELETED":
            return
    raise SystemExit(f"bench-scale: namespace {NAMESPACE} is not deleted after {seconds} s: run with --clean again")


def delete_nodes_and_volume() -> None:
    """Delete the nodes, their leases and the volume."""
    core, leases = client.CoreV1Api(), client.CoordinationV1Api()
    for node in core.list_node(label_selector=SELECTOR).items:
        core.delete_node(node.metadata.name)
        leases.delete_namespaced_lease(node.metadata.name, "kube-node-lease")
    core.delete_collection_persistent_volume(label_selector=SELECTOR)


def event_delays(names: set[str]) -> list[float]:
    """Return the delay in seconds of each event of the operator on these runs.

    From the time of the decision in the event to its creation on the API server, both in whole seconds.
    """
    found = client.CoreV1Api().list_namespaced_event(NAMESPACE, field_selector="involvedObject.kind=FusionRun")
    return [
        (event.metadata.creation_timestamp - noted).total_seconds()
        for event in found.items
        if event.involved_object.name in names and (noted := event.event_time or event.first_timestamp)
    ]
