"""Targets of a Prometheus on a Kubernetes cluster, as files: Debian's Prometheus has no discovery of Kubernetes.

The targets have the labels that Prometheus itself would set, as far as the monitors of the chart use them. Source:
Prometheus, "Configuration", ``kubernetes_sd_config``, roles ``pod`` and ``endpoints``.
"""

import json
import re
import subprocess
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Manifest = dict[str, Any]
ROLES = ("pod", "endpoints")
NAME_LABEL = "app.kubernetes.io/name=fusionrun"
_META = "__meta_kubernetes_"


def label(selected: str, key: str, what: str = "label") -> str:
    """Return the name of the meta label with a label of a ``pod`` or a ``service``."""
    return f"{_META}{selected}_{what}_{re.sub('[^a-zA-Z0-9_]', '_', key)}"


def targets(pods: Iterable[Manifest], services: Iterable[Manifest]) -> dict[str, list[Manifest]]:
    """Return the targets of each role: the ports of pods, and those to which a port of a Service leads."""
    found: dict[str, list[Manifest]] = {role: [] for role in ROLES}
    services = list(services)
    for pod in pods:
        address = pod.get("status", {}).get("podIP")
        for container in pod["spec"]["containers"] if address else ():
            for port in container.get("ports", []):
                place = [f"{address}:{port['containerPort']}"]
                labels = _of_pod(pod, container["name"], port["name"])
                found["pod"].append({"targets": place, "labels": labels})
                for service in services:
                    for more in _of_service(service, pod, port["name"]):
                        found["endpoints"].append({"targets": place, "labels": labels | more})
    return found


def _of_pod(pod: Manifest, container: str, port: str) -> dict[str, str]:
    metadata = pod["metadata"]
    return {
        f"{_META}namespace": metadata["namespace"],
        f"{_META}pod_name": metadata["name"],
        f"{_META}pod_phase": pod["status"]["phase"],
        f"{_META}pod_container_name": container,
        f"{_META}pod_container_port_name": port,
        **_labels("pod", metadata["labels"]),
    }


def _of_service(service: Manifest, pod: Manifest, port: str) -> Iterator[dict[str, str]]:
    metadata, spec = service["metadata"], service["spec"]
    if metadata["namespace"] != pod["metadata"]["namespace"]:
        return
    if not spec["selector"].items() <= pod["metadata"]["labels"].items():
        return
    for served in spec["ports"]:
        if served["targetPort"] == port:
            yield {f"{_META}endpoint_port_name": served["name"], **_labels("service", metadata["labels"])}


def _labels(selected: str, labels: dict[str, str]) -> dict[str, str]:
    values = {label(selected, key): value for key, value in labels.items()}
    return values | {label(selected, key, "labelpresent"): "true" for key in labels}


@contextmanager
def discovering(folder: Path, services: Iterable[Manifest]) -> Iterator[None]:
    """Write ``pod.json`` and ``endpoints.json`` at each change of a pod of the operator or of a run."""
    command = ["kubectl", "get", "pods", "--all-namespaces", "-l", NAME_LABEL, "--watch", "--output-watch-events"]
    services = list(services)
    _write(folder, targets((), services))
    with subprocess.Popen([*command, "-o", "json"], stdout=subprocess.PIPE, text=True) as process:
        thread = threading.Thread(target=_follow, args=(process, folder, services), name="discovery")
        thread.start()
        try:
            yield
        finally:
            process.terminate()
            thread.join()


def _follow(process: subprocess.Popen[str], folder: Path, services: list[Manifest]) -> None:
    pods: dict[str, Manifest] = {}
    for line in process.stdout or ():
        event = json.loads(line)
        uid = event["object"]["metadata"]["uid"]
        pods |= {uid: event["object"]}
        if event["type"] == "DELETED":
            del pods[uid]
        _write(folder, targets(pods.values(), services))


def _write(folder: Path, found: dict[str, list[Manifest]]) -> None:
    for role, of_role in found.items():
        new = folder / f"{role}.new"
        new.write_text(json.dumps(of_role))
        new.rename(folder / f"{role}.json")
