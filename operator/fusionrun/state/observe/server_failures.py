"""Whether a model server has failed. A server that waits for a node or pulls its image has not."""

from datetime import datetime, timedelta

from fusionrun.api.contract import Manifest
from fusionrun.api.pod import EXIT_USER_ERROR
from fusionrun.api.status.conditions import Reason
from fusionrun.names import NETWORK_CHECK_CONTAINER
from fusionrun.state.observe.failures import Failure, out_of_memory
from fusionrun.state.observe.object_fields import container_statuses, is_deleting, parse_time, pod_ended

CRASH_LOOP_RESTARTS = 3
"""Restarts of a server's container after which one more short run of it counts as a crash loop."""
SHORT_LIFE = timedelta(minutes=10)
"""A container that was ready for longer was not in a crash loop. Source: Kubernetes, "Pod Lifecycle": the kubelet
resets the restart back-off of a container that has run for 10 minutes without problems."""
LOADING = timedelta(minutes=30)
"""Time for which a container may have loaded its model before it was ready, if ``startupTimeoutSeconds`` allows it. The
status of the pod does not tell how long it took."""


def server_failure(deployment: Manifest, pods: list[Manifest], log_tails: dict[str, str]) -> Failure | None:
    """Explain why a server that is not ready has failed; None while it may become ready.

    Notes
    -----
    The restart count of a container covers its whole lifetime, which may be days. A restart counts only if the
    container ran for a short time before it, or never became ready. A container that ran for as long as the startup
    probe allows without becoming ready was killed by that probe. The time starts with the container, so time without a
    node does not count. A container that has passed its startup probe works or hangs, whatever happened before: its
    liveness probe restarts it. A pod that was evicted or deleted has been replaced.
    """
    for pod in pods:
        if pod_ended(pod) or is_deleting(pod):
            continue
        name = pod["metadata"]["name"]
        if message := _open_network(pod):
            return Failure(Reason.USER_ERROR, f"server pod {name}: {message}", name, message)
        for container in container_statuses(pod):
            last = (container.get("lastState") or {}).get("terminated")
            if not last or container.get("started"):
                continue
            log_tail = log_tails.get(name) or last.get("message") or ""
            started, ended = parse_time(last.get("startedAt")), parse_time(last.get("finishedAt"))
            lifetime = ended - started if started and ended else None
            unready = _unready_since(pod, started)
            timeout = _startup_timeout(deployment)
            if unready and lifetime is not None and lifetime >= timeout:
                text = f"server pod {name} was not ready within startupTimeoutSeconds"
                return Failure(Reason.SERVER_NOT_READY, text, name, log_tail)
            restarts = int(container.get("restartCount") or 0)
            short = SHORT_LIFE + min(LOADING, timeout)
            if restarts >= CRASH_LOOP_RESTARTS and (unready or lifetime is None or lifetime < short):
                if last.get("reason") == "OOMKilled":
                    return out_of_memory(f"server pod {name}", name, log_tail)
                text = (
                    f"server pod {name} crashed {restarts} times, the last time with exit code {last.get('exitCode')}"
                )
                return Failure(Reason.SERVER_NOT_READY, text, name, log_tail)
    return None


def _open_network(pod: Manifest) -> str:
    """Return what the check of a pod's network reported, if it failed for good; else an empty string."""
    for container in container_statuses(pod, init=True):
        if container.get("name") == NETWORK_CHECK_CONTAINER:
            for state in ("state", "lastState"):
                ended = (container.get(state) or {}).get("terminated") or {}
                if ended.get("exitCode") == EXIT_USER_ERROR:
                    return str(ended.get("message") or "the check of its network failed").strip()[-300:]
    return ""


def _unready_since(pod: Manifest, started: datetime | None) -> bool:
    """Return whether the pod has not been ready since before a container started."""
    for condition in pod["status"].get("conditions") or []:
        if condition["type"] == "Ready" and condition["status"] != "True":
            since = parse_time(condition.get("lastTransitionTime"))
            return bool(since and started and since <= started)
    return False


def _startup_timeout(deployment: Manifest) -> timedelta:
    """Return the time that the startup probe allows a container to start; the first probe is immediate."""
    containers = deployment["spec"]["template"]["spec"]["containers"]
    probe = next(c["startupProbe"] for c in containers if "startupProbe" in c)
    return timedelta(seconds=(probe["failureThreshold"] - 1) * probe["periodSeconds"])
