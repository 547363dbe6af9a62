"""Nodes that the pods of a retry avoid if the cluster has others: those on which the last attempts failed."""

from collections.abc import Sequence
from typing import Any

from fusionrun.api.contract import Manifest

_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
WEIGHT = 100
"""Weight of the preference: the largest one. Source: Kubernetes API, PreferredSchedulingTerm."""


def avoid_nodes(objects: Sequence[Manifest], nodes: Sequence[str]) -> None:
    """Add a node affinity to the pod templates of objects that are about to be created; keep their other affinity.

    It is a preference: on a cluster with one node, the pods run there again. A field selector needs no label: pods name
    their node, and its label ``kubernetes.io/hostname`` may differ from the name. Such a selector has one value.
    Source: Kubernetes, pkg/apis/core/validation (``ValidateNodeFieldSelectorRequirement``).
    """
    if not nodes:
        return
    others = [{"key": "metadata.name", "operator": "NotIn", "values": [node]} for node in nodes]
    term = {"weight": WEIGHT, "preference": {"matchFields": others}}
    for pod in {id(pod): pod for manifest in objects for pod in _pod_specs(manifest)}.values():
        affinity = pod.get("affinity") or {}
        node_affinity = affinity.get("nodeAffinity") or {}
        terms = [*(node_affinity.get(_PREFERRED) or []), term]
        pod["affinity"] = {**affinity, "nodeAffinity": {**node_affinity, _PREFERRED: terms}}


def _pod_specs(value: Any) -> list[dict[str, Any]]:
    """Return the pod specs in an object: those of its ``template`` fields, at any depth of its spec."""
    if isinstance(value, list):
        return [pod for item in value for pod in _pod_specs(item)]
    if not isinstance(value, dict):
        return []
    pod = value["template"].get("spec") if isinstance(value.get("template"), dict) else None
    if isinstance(pod, dict) and "containers" in pod:
        return [pod]
    return [pod for item in value.values() for pod in _pod_specs(item)]
