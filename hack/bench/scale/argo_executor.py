"""What Argo's program ``argoexec`` writes from a pod, so that the controller sees that it has ended. Pure functions.

Source: Argo Workflows 3.7.3, ``cmd/argoexec/commands/wait.go`` and ``workflow/executor/taskresult.go``: its container
``wait`` creates a WorkflowTaskResult, and at the end patches the outputs and then the label that completes it.
"""

from typing import Any

NODE = "workflows.argoproj.io/node-id"
COMPLETED = "workflows.argoproj.io/report-outputs-completed"
WORKFLOW = "workflows.argoproj.io/workflow"
PATH = "/apis/argoproj.io/v1alpha1/namespaces/{}/workflowtaskresults"


def node_of(pod: dict[str, Any]) -> str | None:
    """Return the name of a pod's WorkflowTaskResult; None for a pod without ``argoexec``."""
    node: str | None = pod["metadata"].get("annotations", {}).get(NODE)
    return node


def task_result(pod: dict[str, Any]) -> dict[str, Any]:
    """Return the WorkflowTaskResult of a pod that has started."""
    (owner,) = pod["metadata"]["ownerReferences"]
    reference = {key: owner[key] for key in ("apiVersion", "kind", "name", "uid")}
    labels = {WORKFLOW: owner["name"], COMPLETED: "false"}
    metadata = {"name": node_of(pod), "labels": labels, "ownerReferences": [reference]}
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "WorkflowTaskResult", "metadata": metadata}


def patches() -> list[dict[str, Any]]:
    """Return the merge patches of a WorkflowTaskResult when the main container has ended, in their order."""
    return [{"outputs": {}}, {"metadata": {"labels": {COMPLETED: "true"}}}]
