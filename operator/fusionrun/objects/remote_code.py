"""How a pod is closed that runs a model's own code (``trustRemoteCode``): it can tell nobody, and change nothing.

No packet leaves it, it holds no token, and of the claim it may write to the one directory that its stage makes. Two
kinds of pods run such code: the servers of sources, which write nothing at all, and ``score``.
"""

from typing import Any

from fusionrun import names
from fusionrun.api.artifacts import artifact_dir
from fusionrun.api.models import Manifest
from fusionrun.objects import meta
from fusionrun.objects.meta import Run
from fusionrun.plan.stages import Stage

LABEL = "fusionrun.dev/remote-code"
LABELS = {LABEL: "true"}
NETWORK_POLICY_SUFFIX = "-remote-code"


def build_network_policy(run: Run, port: int) -> Manifest:
    """Build the policy that lets a run's pods with foreign code answer the run's own, at one port, and ask nobody."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": meta.metadata(run, f"{run.name}{NETWORK_POLICY_SUFFIX}", meta.run_labels(run)),
        "spec": {
            "podSelector": {"matchLabels": {names.LABEL_RUN: run.name, **LABELS}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {
                    "from": [{"podSelector": {"matchLabels": {names.LABEL_RUN: run.name}}}],
                    "ports": [{"protocol": "TCP", "port": port}],
                }
            ],
        },
    }


def mounts(stage: Stage, digest: str) -> list[dict[str, Any]]:
    """Return the mounts of a program that runs foreign code: the claim to read, its own artifact to write."""
    return [
        *meta.mounts(task=True, shared_memory=True, read_only_data=True),
        meta.sub_path(artifact_dir(stage.kind, digest), read_only=False),
    ]
