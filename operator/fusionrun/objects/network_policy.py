"""NetworkPolicies for pods that run untrusted code."""

from typing import Any

from fusionrun import names
from fusionrun.api.models import Manifest
from fusionrun.objects import meta
from fusionrun.objects.meta import Run

SANDBOX_LABELS = {names.LABEL_SANDBOX: "true"}
REMOTE_CODE_LABELS = {names.LABEL_REMOTE_CODE: "true"}


def sandbox_policy(run: Run) -> Manifest:
    """Deny all traffic from and to the sandbox pods of a run."""
    return _policy(run, names.sandbox_network_policy(run.name), SANDBOX_LABELS)


def remote_code_policy(run: Run, port: int) -> Manifest:
    """Allow ingress on one port from the pods of the run; deny all egress of pods that execute code of a model."""
    return _policy(
        run,
        names.remote_code_network_policy(run.name),
        REMOTE_CODE_LABELS,
        ingress=[
            {
                "from": [{"podSelector": {"matchLabels": {names.LABEL_RUN: run.name}}}],
                "ports": [{"protocol": "TCP", "port": port}],
            }
        ],
    )


def _policy(run: Run, name: str, labels: dict[str, str], **rules: Any) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": meta.metadata(run, name, meta.run_labels(run)),
        "spec": {
            "podSelector": {"matchLabels": {names.LABEL_RUN: run.name, **labels}},
            "policyTypes": ["Ingress", "Egress"],
            **rules,
        },
    }
