"""The objects of a measurement: a namespace, a claim, Secrets and the runs."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor

from kubernetes import client
from shapes import LABEL, NAMESPACE, Workload

from fusionrun.names import GROUP, PLURAL, VERSION

VOLUME = "fusionrun-bench"
CREATES_AT_ONCE = 8
DELETE_TIMEOUT = "600s"


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    """Run kubectl and return its standard output."""
    return subprocess.run(["kubectl", *arguments], input=stdin, stdout=subprocess.PIPE, text=True, check=True).stdout


def prepare(workload: Workload) -> None:
    """Create the namespace, the claim and the Secrets. The volume has no files, since no pod mounts it."""
    space = {"storageClassName": "", "accessModes": ["ReadWriteMany"]}
    claim = {"name": workload.claim, "namespace": NAMESPACE}
    volume = {"capacity": {"storage": "1Ti"}, "hostPath": {"path": "/nonexistent"}, "claimRef": claim}
    volume |= {"persistentVolumeReclaimPolicy": "Retain"}
    restricted = {LABEL: "true", "pod-security.kubernetes.io/enforce": "restricted"}
    items = [
        {"kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": restricted}},
        {"kind": "PersistentVolume", "metadata": {"name": VOLUME, "labels": {LABEL: "true"}}, "spec": space | volume},
        {
            "kind": "PersistentVolumeClaim",
            "metadata": claim,
            "spec": space | {"volumeName": VOLUME, "resources": {"requests": {"storage": "1Ti"}}},
        },
        *(
            {"kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE}, "stringData": {key: "unused"}}
            for name, key in workload.secrets
        ),
    ]
    for item in items:
        kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1"} | item))


def nodes() -> int:
    """Return the number of nodes of an earlier measurement."""
    return len(kubectl("get", "nodes", "-l", LABEL, "-o", "name").splitlines())


def create_runs(workload: Workload) -> None:
    """Create all runs concurrently."""
    create = client.CustomObjectsApi().create_namespaced_custom_object
    with ThreadPoolExecutor(CREATES_AT_ONCE) as pool:
        list(pool.map(lambda run: create(GROUP, VERSION, NAMESPACE, PLURAL, run), workload.manifests()))


def delete_runs() -> None:
    """Delete the namespace with the runs, and the volume. The simulated kubelets must run, since they end the pods."""
    kubectl("delete", "namespaces,persistentvolumes", "-l", LABEL, "--timeout", DELETE_TIMEOUT)


def delete_nodes() -> None:
    """Delete the nodes and their leases. The simulated kubelets must have stopped, since they renew the leases."""
    kubectl("delete", "nodes", "-l", LABEL)
    kubectl("delete", "leases", "--namespace", "kube-node-lease", "-l", LABEL)


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
