"""The objects of a measurement: a namespace, a claim, Secrets and the runs."""

import itertools
import json
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kubernetes import client
from shapes import LABEL, NAMESPACE, Workload

VOLUME = "fusionrun-bench"
CREATES_AT_ONCE = 8
START_SECONDS = 60


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    """Run kubectl and return its standard output."""
    return subprocess.run(["kubectl", *arguments], input=stdin, stdout=subprocess.PIPE, text=True, check=True).stdout


def prepare(workload: Workload, controller: str) -> None:
    """Create the namespace, the claim, the Secrets and the rights of the controller. No pod mounts the volume."""
    space = {"storageClassName": "", "accessModes": ["ReadWriteMany"]}
    claim = {"name": workload.claim, "namespace": NAMESPACE}
    volume = {"capacity": {"storage": "1Ti"}, "hostPath": {"path": "/nonexistent"}, "claimRef": claim}
    restricted = {LABEL: "true", "pod-security.kubernetes.io/enforce": "restricted"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    items = [
        {"kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": restricted}},
        {"kind": "PersistentVolume", "metadata": {"name": VOLUME}, "spec": space | volume},
        {
            "kind": "PersistentVolumeClaim",
            "metadata": claim,
            "spec": space | {"volumeName": VOLUME, "resources": {"requests": {"storage": "1Ti"}}},
        },
        *(
            {"kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE}, "stringData": {key: "unused"}}
            for name, key in workload.secrets
        ),
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "controller"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": controller}],
            "roleRef": role,
        },
    ]
    for item in items:
        kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1"} | item))
    # Pods are refused until their ServiceAccount exists.
    kubectl("wait", "--for=create", "serviceaccount/default", "-n", NAMESPACE, f"--timeout={START_SECONDS}s")


def wait_until_served(path: str) -> None:
    """Wait until the API server serves the kind of a new CRD: at first it replies 404, then 429."""

    def served() -> bool:
        command = ["kubectl", "get", "--raw", path.format(NAMESPACE)]
        return not subprocess.run(command, capture_output=True, check=False).returncode

    _wait(served, path)


def wait_until_schedulable() -> None:
    """Wait until the node controller has removed its taints, such as not-ready, from all simulated nodes."""
    taints = ("get", "nodes", "-o", "jsonpath={.items[*].spec.taints[*].key}")
    _wait(lambda: set(kubectl(*taints).split()) == {LABEL}, "node")


def _wait(reached: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not reached():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} is not ready after {START_SECONDS} s")
        time.sleep(0.2)


def create_runs(manifests: Sequence[dict[str, Any]], plural: str, rate: float | None = None) -> None:
    """Create runs, ``rate`` per second or all concurrently. ``plural`` is the resource's name in the API."""
    create = client.CustomObjectsApi().create_namespaced_custom_object
    began = time.monotonic()

    def create_one(number: int, manifest: dict[str, Any]) -> None:
        if rate:
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
        create(*manifest["apiVersion"].split("/"), NAMESPACE, plural, manifest)

    with ThreadPoolExecutor(CREATES_AT_ONCE) as pool:
        list(pool.map(create_one, itertools.count(), manifests))


def event_delays(kind: str, names: set[str]) -> list[float]:
    """Return the delay in seconds of each event of the controller on these runs.

    From the time in the event to its creation on the API server, both in whole seconds.
    """
    found = client.CoreV1Api().list_namespaced_event(NAMESPACE, field_selector=f"involvedObject.kind={kind}")
    return [
        (event.metadata.creation_timestamp - noted).total_seconds()
        for event in found.items
        if event.involved_object.name in names and (noted := event.event_time or event.first_timestamp)
    ]
