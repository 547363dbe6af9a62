"""The Argo Workflow with the stages of a plan: a DAG whose tasks have the needs of the stages. Pure functions."""

from typing import Any

from shapes import SCHEDULING

from fusionrun.names import LABEL_RUN, LABEL_STAGE
from fusionrun.plan.stages import Plan, Stage

IMAGE = "registry.example.com/stage:bench"
RESTRICTED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
"""Settings of all containers, also of Argo's own, for the restricted Pod Security Standard."""


def workflow(name: str, plan: Plan) -> dict[str, Any]:
    """Return a Workflow that runs the pods of a plan in the same order as the operator.

    A server and its client are a DAG of their own, since Argo stops a daemon when its DAG ends. Several pods of a stage
    are a sequence.
    """
    servers = {stage.server: stage for stage in plan.stages if stage.server}
    tasks = []
    for stage in plan.stages:
        if stage.name in servers:
            continue
        server = plan[stage.server] if stage.server else None
        needs = dict.fromkeys((*(server.needs if server else ()), *stage.needs))
        task = {"name": _slug(stage.name), "template": f"with-{_slug(stage.name)}"} if server else _task(stage)
        tasks.append(task | _depends(needs))
    dags = [_served(stage, plan[name]) for name, stage in servers.items()]
    security = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": name},
        "spec": {
            "entrypoint": "run",
            "securityContext": security,
            **SCHEDULING,
            "templates": [{"name": "run", "dag": {"tasks": tasks}}, *dags, *map(_pod, plan.stages)],
        },
    }


def pods_of(stage: Stage) -> int:
    """Return the number of pods of a stage: one for each shard or each node of a training."""
    return stage.completions if stage.shards else stage.pods


def _served(client: Stage, server: Stage) -> dict[str, Any]:
    tasks = [_task(server), _task(client) | _depends([server.name])]
    return {"name": f"with-{_slug(client.name)}", "dag": {"tasks": tasks}}


def _task(stage: Stage) -> dict[str, Any]:
    sequence = {"withSequence": {"count": str(pods_of(stage))}} if pods_of(stage) > 1 else {}
    return {"name": _slug(stage.name), "template": _slug(stage.name)} | sequence


def _depends(needs: Any) -> dict[str, str]:
    return {"depends": " && ".join(map(_slug, needs))} if needs else {}


def _pod(stage: Stage) -> dict[str, Any]:
    labels = {LABEL_RUN: "{{workflow.name}}", LABEL_STAGE: stage.name.replace("/", ".", 1)}
    container = {"image": IMAGE, "command": ["stage"], "securityContext": RESTRICTED}
    daemon = {"daemon": True} if stage.traits.is_server else {}
    return {"name": _slug(stage.name), "metadata": {"labels": labels}, "container": container} | daemon


def _slug(stage: str) -> str:
    return stage.replace("/", "-").replace(".", "-")
