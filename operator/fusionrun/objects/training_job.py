"""The Indexed Job of a training stage, with a headless Service: it needs nothing but Kubernetes."""

from fusionrun.api.contract import Manifest
from fusionrun.objects import meta
from fusionrun.objects.training import MASTER_PORT, all_at_once, rendezvous_environment, training_template
from fusionrun.plan.pinned import Run
from fusionrun.plan.stages import Stage
from fusionrun.settings import Settings


def build_training_job(run: Run, stage: Stage, name: str, attempt: int, settings: Settings) -> list[Manifest]:
    """Build the Service and the Job of ``sft`` or ``dpo``. The ConfigMap of the same name has its task.

    Notes
    -----
    ``backoffLimit: 0``: a failed or deleted pod ends the Job, since the others cannot continue without it; the
    operator then creates the next attempt. The Service gives each pod a DNS name, NAME-INDEX.NAME, also before the pod
    is ready. Source: Kubernetes, "Job with Pod-to-Pod Communication".
    """
    nodes = run.spec.training.nodes
    stage_labels = meta.labels(run, stage, attempt)
    template = training_template(
        run, stage, name, attempt, settings, stage.kind.value, rendezvous_environment(run, f"{name}-0.{name}")
    )
    if nodes > 1:
        template["spec"]["subdomain"] = name
    job = {
        "apiVersion": "batch/v1",
        "kind": stage.traits.workload.api_kind,
        "metadata": meta.metadata(run, name, stage_labels | meta.queue_labels(run, stage)),
        "spec": all_at_once(nodes, template),
    }
    if nodes == 1:
        return [job]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta.metadata(run, name, stage_labels),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": stage_labels,
            "ports": [{"name": "rendezvous", "port": MASTER_PORT}],
        },
    }
    return [service, job]
