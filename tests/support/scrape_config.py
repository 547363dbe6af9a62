"""The configuration of Prometheus for a ServiceMonitor and a PodMonitor, as the Prometheus operator would write it.

Only the fields that the chart uses. Source: prometheus-operator, pkg/prometheus/promcfg.go.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from support.discovery import label

Manifest = dict[str, Any]


def scrape_configs(documents: Iterable[Manifest], interval: str) -> list[Manifest]:
    """Return the scrape configurations of the monitors among the documents of a rendered chart.

    The targets of each role are in a file, ``ROLE.json`` (``support.discovery``).
    """
    found: list[Manifest] = []
    for monitor in documents:
        if monitor["kind"] == "ServiceMonitor":
            found += _configs(monitor, "endpoints", "endpoints", interval)
        elif monitor["kind"] == "PodMonitor":
            found += _configs(monitor, "podMetricsEndpoints", "pod", interval)
    return found


def _configs(monitor: Manifest, field: str, role: str, interval: str) -> Iterator[Manifest]:
    spec, metadata = monitor["spec"], monitor["metadata"]
    selected = "pod" if role == "pod" else "service"
    for number, endpoint in enumerate(spec[field]):
        port = "__meta_kubernetes_pod_container_port_name" if role == "pod" else "__meta_kubernetes_endpoint_port_name"
        names = spec["namespaceSelector"].get("matchNames", [".*"])
        relabelings = [
            {"source_labels": ["__meta_kubernetes_namespace"], "regex": f"({'|'.join(names)})", "action": "keep"},
            *_selector(spec["selector"], selected),
            {"source_labels": [port], "regex": endpoint["port"], "action": "keep"},
            {"source_labels": ["__meta_kubernetes_pod_phase"], "regex": "(Failed|Succeeded)", "action": "drop"},
            {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
            {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"},
            {"source_labels": ["__meta_kubernetes_pod_container_name"], "target_label": "container"},
            {"target_label": "job", "replacement": f"{metadata['namespace']}/{metadata['name']}"},
            *map(_in_snake_case, endpoint.get("relabelings", [])),
        ]
        yield {
            "job_name": f"{monitor['kind']}/{metadata['name']}/{number}",
            "metrics_path": endpoint["path"],
            "honor_labels": endpoint.get("honorLabels", False),
            "scrape_interval": interval,
            "scrape_timeout": interval,
            "file_sd_configs": [{"files": [f"{role}.json"]}],
            "relabel_configs": relabelings,
        }


def _selector(selector: Manifest, selected: str) -> Iterator[Manifest]:
    for key, value in selector.get("matchLabels", {}).items():
        yield {"source_labels": [label(selected, key)], "regex": re.escape(value), "action": "keep"}
    for expression in selector.get("matchExpressions", []):
        if expression["operator"] == "In":
            values = "|".join(map(re.escape, expression["values"]))
            yield {"source_labels": [label(selected, expression["key"])], "regex": f"({values})", "action": "keep"}
        else:
            assert expression["operator"] == "DoesNotExist"
            present = label(selected, expression["key"], "labelpresent")
            yield {"source_labels": [present], "regex": "true", "action": "drop"}


def _in_snake_case(relabeling: Manifest) -> Manifest:
    return {re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", key): value for key, value in relabeling.items()}
