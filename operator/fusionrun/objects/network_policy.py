"""NetworkPolicies of a run: one for its ordinary pods, one for its sandboxes, one for pods that run code of a model.

Policies add up: a second policy that selects a pod can only open it. Each pod is therefore selected by one of them.
"""

import ipaddress
from typing import Any

from fusionrun import names
from fusionrun.api.contract import Manifest
from fusionrun.api.pod import METRICS_PORT
from fusionrun.objects import meta
from fusionrun.plan.kinds import Workload
from fusionrun.plan.pinned import Run
from fusionrun.plan.stages import Stage
from fusionrun.settings import Settings

NAMESPACE_NAME_LABEL = "kubernetes.io/metadata.name"
"""Label with the name of a namespace. Source: Kubernetes, "Well-Known Labels"; the API server sets it."""


def isolation_labels(stage: Stage) -> dict[str, str]:
    """Return the labels with which a NetworkPolicy selects the pods of a stage; none for a trusted stage."""
    if stage.traits.workload is Workload.SANDBOX_JOB:
        return {names.LABEL_SANDBOX: "true"}
    return {names.LABEL_REMOTE_CODE: "true"} if stage.remote_code else {}


def build_policy(run: Run, stage: Stage, port: int, settings: Settings) -> Manifest:
    """Return the NetworkPolicy that selects the pods of a stage.

    It denies all traffic of the sandbox. Pods that run code of a model have no egress, and accept connections on
    ``port`` from the pods of the run. All other pods accept connections from the pods of the run, and from the
    monitoring namespaces on the ports with metrics: that of clients, and ``port``, on which vLLM serves them.
    """
    labels = isolation_labels(stage)
    selected: dict[str, Any] = {"podSelector": {"matchLabels": {names.LABEL_RUN: run.name, **labels}}}
    closed = {**selected, "policyTypes": ["Ingress", "Egress"]}
    from_run = {"from": [{"podSelector": {"matchLabels": {names.LABEL_RUN: run.name}}}]}
    if names.LABEL_SANDBOX in labels:
        return _policy(run, f"{run.name}-sandbox", closed)
    if names.LABEL_REMOTE_CODE in labels:
        rule = {**from_run, "ports": [{"protocol": "TCP", "port": port}]}
        return _policy(run, f"{run.name}-remote-code", {**closed, "ingress": [rule]})
    other = [{"key": key, "operator": "DoesNotExist"} for key in (names.LABEL_SANDBOX, names.LABEL_REMOTE_CODE)]
    selected["podSelector"]["matchExpressions"] = other
    egress = _egress(settings)
    return _policy(run, f"{run.name}-network", {
        **selected,
        "policyTypes": ["Ingress", *(["Egress"] if egress else [])],
        "ingress": [from_run, *_monitoring(settings, port)],
        **({"egress": egress} if egress else {}),
    })  # fmt: skip


def _policy(run: Run, name: str, spec: dict[str, Any]) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": meta.metadata(run, name, meta.run_labels(run)),
        "spec": spec,
    }


def _monitoring(settings: Settings, server_port: int) -> list[dict[str, Any]]:
    if not settings.monitoring_namespaces:
        return []
    named = {"key": NAMESPACE_NAME_LABEL, "operator": "In", "values": list(settings.monitoring_namespaces)}
    ports = [{"protocol": "TCP", "port": port} for port in (METRICS_PORT, server_port)]
    return [{"from": [{"namespaceSelector": {"matchExpressions": [named]}}], "ports": ports}]


def _egress(settings: Settings) -> list[dict[str, Any]]:
    """Return a rule that allows all but some networks; none if all are allowed.

    Pods are allowed by a selector, since some network plugins do not apply ``ipBlock`` to pods.
    """
    if not settings.blocked_networks:
        return []
    blocks = []
    for everything in (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")):
        excepted = [n for n in settings.blocked_networks if ipaddress.ip_network(n).version == everything.version]
        blocks.append({"ipBlock": {"cidr": str(everything), **({"except": excepted} if excepted else {})}})
    return [{"to": [{"namespaceSelector": {}}, *blocks]}]
