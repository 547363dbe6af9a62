"""The operator's pod: find it, restart it, read its metrics."""

import http.client
import time
import urllib.request
from typing import Any

from kubernetes import client, watch
from prometheus_client.parser import text_string_to_metric_families

SELECTOR = "app.kubernetes.io/name=fusionrun,app.kubernetes.io/component=operator"
METRICS_PORT = 8000
"""Port of the chart's Deployment."""
READY_SECONDS = 600
"""Timeout of a start: the back-off of a crashed container is up to 5 minutes."""
SCRAPE_SECONDS = 10

Samples = dict[str, float]

# The pod is on this machine, so no proxy is used.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def find() -> Any:
    """Return the operator's pod.

    Raises
    ------
    SystemExit
        If there is none, or more than one.
    """
    pods = client.CoreV1Api().list_pod_for_all_namespaces(label_selector=SELECTOR).items
    found = [pod for pod in pods if not pod.metadata.deletion_timestamp]
    if len(found) != 1:
        raise SystemExit(f"bench-scale: {len(found)} pods have {SELECTOR}, not one: install the operator once")
    return found[0]


def restart() -> tuple[Any, float]:
    """Delete the operator's pod; return the new pod when it is Ready, and the duration in seconds.

    Raises
    ------
    TimeoutError
        If the new pod does not become Ready.
    """
    core = client.CoreV1Api()
    old = find()
    namespace = old.metadata.namespace
    started = time.monotonic()
    core.delete_namespaced_pod(old.metadata.name, namespace)
    events = watch.Watch().stream(
        core.list_namespaced_pod, namespace, label_selector=SELECTOR, timeout_seconds=READY_SECONDS
    )
    for event in events:
        pod = event["object"]
        if pod.metadata.uid != old.metadata.uid and not pod.metadata.deletion_timestamp and is_ready(pod):
            return pod, time.monotonic() - started
    raise TimeoutError(f"the operator's new pod is not Ready after {READY_SECONDS} s")


def is_ready(pod: Any) -> bool:
    """Return whether a pod is Ready."""
    return any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions or [])


def scrape(pod: Any) -> Samples:
    """Return the metrics of a pod by series.

    Raises
    ------
    OSError
        If it does not answer within the timeout.
    """
    url = f"http://{pod.status.pod_ip}:{METRICS_PORT}/metrics"
    try:
        text = _opener.open(url, timeout=SCRAPE_SECONDS).read().decode()
    except http.client.HTTPException as error:
        raise OSError(f"{url}: {error!r}") from error
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return {_series(sample.name, sample.labels): sample.value for sample in samples}


def _series(name: str, labels: dict[str, str]) -> str:
    return name + "{" + ",".join(f'{key}="{value}"' for key, value in sorted(labels.items())) + "}"
