"""Whether a server that did not respond is stalled, or was unavailable: preempted, drained, queued or loading.

Only a stalled server is restarted.
"""

from datetime import datetime, timedelta

from fusionrun.api.contract import Manifest
from fusionrun.api.status.conditions import Reason
from fusionrun.state.observe.object_fields import container_statuses, is_deleting, pod_phase
from fusionrun.state.observe.workloads import Phase, Workload


def client_stalled(client: Workload) -> bool:
    """Return whether a client failed because its server sent no token for ``stallSeconds``."""
    return client.phase is Phase.FAILED and client.failure is not None and client.failure.reason is Reason.SERVER_WEDGED


def was_unavailable(server: Workload | None, client: Workload, stall_seconds: int, now: datetime) -> bool:
    """Return whether a server was unavailable while its client waited for a response for ``stall_seconds``.

    A server that was preempted, drained, queued or restarted was unavailable: its pod is gone, terminating or gated,
    its container started later, or it became Ready later. A pod that is not Ready hangs if its container passed the
    startup probe and started earlier: it counts as available.
    """
    if server is None:
        return True
    if server.attempt > client.attempt:  # this server replaces the one that stalled
        return False
    since = (client.ended or now) - timedelta(seconds=stall_seconds)
    if not server.pods:
        return server.phase is not Phase.READY
    return not any(_available_since(pod, since) for pod in server.pods)


def _available_since(pod: Manifest, since: datetime) -> bool:
    if is_deleting(pod) or pod_phase(pod) != "Running":
        return False
    for condition in pod["status"].get("conditions") or []:
        if condition["type"] == "Ready" and condition["status"] == "True":
            return datetime.fromisoformat(condition["lastTransitionTime"]) <= since
    past_startup_probe = [c for c in container_statuses(pod) if c.get("started")]
    running = [state for c in past_startup_probe if (state := (c.get("state") or {}).get("running"))]
    return any(datetime.fromisoformat(state["startedAt"]) <= since for state in running)
