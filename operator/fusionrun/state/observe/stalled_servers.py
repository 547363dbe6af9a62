"""Whether a server that sent its client nothing is stalled, or was unavailable: preempted, drained, queued or loading.

Only a stalled server is restarted.
"""

from datetime import datetime, timedelta

from fusionrun.api.models import Manifest
from fusionrun.api.status import Reason
from fusionrun.state.observe.object_fields import container_statuses, is_deleting, pod_phase
from fusionrun.state.observe.workloads import Phase, Workload


def client_stalled(client: Workload) -> bool:
    """Return whether a client failed because its server sent it nothing for ``stallSeconds``."""
    return client.phase is Phase.FAILED and client.failure is not None and client.failure.reason is Reason.SERVER_WEDGED


def was_unavailable(server: Workload | None, client: Workload, stall_seconds: int, now: datetime) -> bool:
    """Return whether a server was unavailable while its client waited for a response.

    Parameters
    ----------
    server
        The last attempt of the server; None if there is none.
    client
        A client for which ``client_stalled`` is true.
    stall_seconds
        How long the client waited.
    now
        The time, in UTC.
    """
    if server is None:
        return True
    if server.attempt > client.attempt:  # the client's server was found stalled, and this one replaces it
        return False
    return not was_available_since(server, (client.ended or now) - timedelta(seconds=stall_seconds))


def was_available_since(server: Workload, since: datetime) -> bool:
    """Return whether a server was available all the time since ``since``.

    Notes
    -----
    A server that was preempted, drained, queued or restarted was not: its pod is gone, terminating or gated, its
    container started later, or it became Ready later. A pod that is not Ready now, but whose container passed its
    startup probe and has run since before, hangs: it counts as available.
    """
    if not server.pods:
        return server.phase is Phase.READY
    return any(_available_since(pod, since) for pod in server.pods)


def _available_since(pod: Manifest, since: datetime) -> bool:
    if is_deleting(pod) or pod_phase(pod) != "Running":
        return False
    for condition in pod["status"].get("conditions") or []:
        if condition["type"] == "Ready" and condition["status"] == "True":
            return datetime.fromisoformat(condition["lastTransitionTime"]) <= since
    started = [c["state"]["running"]["startedAt"] for c in container_statuses(pod) if _has_started(c)]
    return any(datetime.fromisoformat(each) <= since for each in started)


def _has_started(container: Manifest) -> bool:
    """Return whether a container runs and has passed its startup probe."""
    return bool(container.get("started") and (container.get("state") or {}).get("running"))
