"""Whether a server that gave its client nothing is wedged, or was away: preempted, drained, queued again, loading.

Only the first is the server's fault, and mended by another server.
"""

from datetime import datetime, timedelta

from fusionrun.api.models import Manifest
from fusionrun.api.status import Reason
from fusionrun.state.observe.observed import Phase, Workload


def got_nothing(client: Workload) -> bool:
    """Whether a client of a server ended because it got nothing for ``stallSeconds``."""
    return client.phase is Phase.FAILED and client.failure is not None and client.failure.reason is Reason.SERVER_WEDGED


def was_away(server: Workload | None, client: Workload, stall_seconds: int, now: datetime) -> bool:
    """Whether a server was not up while a client of it got nothing.

    Parameters
    ----------
    server
        The last server there is; None where it is gone.
    client
        Of which ``got_nothing`` holds.
    stall_seconds
        How long the client waited for an answer.
    now
        The time, in UTC.
    """
    if server is None:
        return True
    if server.attempt > client.attempt:  # the client's own server was found wedged, and this is its successor
        return False
    return not served_since(server, (client.ended or now) - timedelta(seconds=stall_seconds))


def served_since(server: Workload, since: datetime) -> bool:
    """Tell whether a server was up all the time since ``since``.

    Parameters
    ----------
    server
        Its Deployment, and its pods as they are now.
    since
        When the client's wait began, in UTC.

    Notes
    -----
    A server that was preempted, drained, queued again or restarted was away for part of that time: its pod is gone, on
    its way out or gated, its container is younger, or it became Ready later. A pod that is not Ready now but whose
    container passed its startup probe and has run since before hangs, and counts as up.
    """
    if not server.pods:
        return server.phase is Phase.READY
    return any(_up_since(pod, since) for pod in server.pods)


def _up_since(pod: Manifest, since: datetime) -> bool:
    status = pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp") or status.get("phase") != "Running":
        return False
    for condition in status.get("conditions") or []:
        if condition["type"] == "Ready" and condition["status"] == "True":
            return datetime.fromisoformat(condition["lastTransitionTime"]) <= since
    running = [c["state"]["running"] for c in status.get("containerStatuses") or [] if _has_started(c)]
    return any(datetime.fromisoformat(each["startedAt"]) <= since for each in running)


def _has_started(container: Manifest) -> bool:
    """Whether a container runs and has passed its startup probe."""
    return bool(container.get("started") and (container.get("state") or {}).get("running"))
