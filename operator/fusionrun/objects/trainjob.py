"""The TrainJob of a training stage, with a TrainingRuntime of its own."""

from fusionrun.api.contract import Manifest
from fusionrun.objects import meta
from fusionrun.objects.training import all_at_once, rendezvous_environment, training_template
from fusionrun.plan.pinned import Run
from fusionrun.plan.stages import Stage
from fusionrun.settings import Settings

API_VERSION = "trainer.kubeflow.org/v1alpha1"
STEP_LABEL = "trainer.kubeflow.org/trainjob-ancestor-step"
"""Label of the part of the template that trains. Source: kubeflow/trainer v2.3, pkg/constants."""
NODE = "node"
"""Name that the trainer requires for the replicated Job and its container."""
NAME_MAX = 44
"""Longest name of a TrainJob: its pods are NAME-node-0-INDEX-SUFFIX, with up to 3 digits and a suffix of 5 characters.

JobSet refuses names of pods of more than 63 characters. Source: kubernetes-sigs/jobset v0.11, pkg/webhooks.
"""


def build_trainjob(run: Run, stage: Stage, name: str, attempt: int, settings: Settings) -> list[Manifest]:
    """Build the TrainingRuntime and the TrainJob of ``sft`` or ``dpo``. The ConfigMap of the same name has its task.

    Notes
    -----
    Only a runtime has a complete pod template; a TrainJob can change few fields of it. A runtime of the cluster, such
    as ``torch-distributed``, may change at any time. The policy ``torch`` of the trainer is not used: it gives no RANK
    to a pod that starts without torchrun.

    A failed pod ends its Job, the JobSet and the TrainJob, as in ``objects.training_job``. JobSet creates the
    headless Service. Source: kubeflow/trainer v2.3, pkg/runtime/framework/plugins (jobset and plainml).
    """
    nodes = run.spec.training.nodes
    stage_labels = meta.labels(run, stage, attempt)
    rendezvous = rendezvous_environment(run, f"{name}-{NODE}-0-0.{name}")
    template = training_template(run, stage, name, attempt, settings, NODE, rendezvous)
    replicated = {
        "name": NODE,
        "replicas": 1,
        "template": {
            "metadata": {"labels": {STEP_LABEL: "trainer"}},
            "spec": all_at_once(nodes, template),
        },
    }
    runtime = {
        "apiVersion": API_VERSION,
        "kind": "TrainingRuntime",
        "metadata": meta.metadata(run, name, stage_labels),
        "spec": {
            "mlPolicy": {"numNodes": nodes},
            "template": {
                "spec": {
                    "network": {"enableDNSHostnames": True, "publishNotReadyAddresses": True},
                    "replicatedJobs": [replicated],
                }
            },
        },
    }
    job = {
        "apiVersion": API_VERSION,
        "kind": stage.traits.workload.api_kind,
        "metadata": meta.metadata(run, name, stage_labels | meta.queue_labels(run, stage)),
        "spec": {"runtimeRef": {"apiGroup": "trainer.kubeflow.org", "kind": "TrainingRuntime", "name": name}},
    }
    return [runtime, job]
