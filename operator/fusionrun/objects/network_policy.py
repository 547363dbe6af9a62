"""NetworkPolicies for pods that run untrusted code."""

from fusionrun import names
from fusionrun.api.models import Manifest
from fusionrun.objects import meta
from fusionrun.plan.kinds import Workload
from fusionrun.plan.pinned import Run
from fusionrun.plan.stages import Stage


def isolation_labels(stage: Stage) -> dict[str, str]:
    """Return the labels with which a NetworkPolicy selects the pods of a stage; none for a trusted stage."""
    if stage.traits.workload is Workload.SANDBOX_JOB:
        return {names.LABEL_SANDBOX: "true"}
    return {names.LABEL_REMOTE_CODE: "true"} if stage.remote_code else {}


def build_policies(run: Run, stage: Stage, port: int) -> list[Manifest]:
    """Return the NetworkPolicy of a stage that runs untrusted code.

    It denies all traffic of the sandbox. Pods that run code of a model have no egress, and accept connections on
    ``port`` from the pods of the run.
    """
    labels = isolation_labels(stage)
    if not labels:
        return []
    name, rules = f"{run.name}-sandbox", {}
    if stage.remote_code:
        clients = {"podSelector": {"matchLabels": {names.LABEL_RUN: run.name}}}
        name = f"{run.name}-remote-code"
        rules = {"ingress": [{"from": [clients], "ports": [{"protocol": "TCP", "port": port}]}]}
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": meta.metadata(run, name, meta.run_labels(run)),
        "spec": {
            "podSelector": {"matchLabels": {names.LABEL_RUN: run.name, **labels}},
            "policyTypes": ["Ingress", "Egress"],
            **rules,
        },
    }
    return [policy]
