"""Whether a model server has failed. A server that waits for a node or pulls its image has not."""

from datetime import timedelta

from fusionrun.api.models import Manifest
from fusionrun.api.status import Reason
from fusionrun.state.observe.failures import Failure, out_of_memory
from fusionrun.state.observe.object_fields import container_statuses, parse_time

CRASH_LOOP_RESTARTS = 3
"""Restarts of a server's container after which one more short run of it counts as a crash loop."""
SHORT_LIFE = timedelta(minutes=10)
"""A container that ran for longer was not in a crash loop. Source: Kubernetes, "Pod Lifecycle": the kubelet resets the
restart back-off of a container that has run for 10 minutes without problems."""


def server_failure(deployment: Manifest, pods: list[Manifest], log_tails: dict[str, str]) -> Failure | None:
    """Explain why a server that is not ready has failed; None while it may become ready.

    Notes
    -----
    The restart count of a container covers its whole life, which may be days. A restart counts only if the container
    ran for a short time before it, or never became ready. A container that ran for as long as the startup probe allows
    without becoming ready was killed by that probe: its time starts with the container, not while it waits for a node.
    """
    for pod in pods:
        for container in container_statuses(pod):
            last = (container.get("lastState") or {}).get("terminated")
            if not last:
                continue
            life, unready = _life(last), _never_ready(pod, last)
            if unready and life is not None and life >= _startup_timeout(deployment):
                return _failure(pod, last, log_tails, "was not ready within startupTimeoutSeconds")
            restarts = int(container.get("restartCount") or 0)
            if restarts >= CRASH_LOOP_RESTARTS and (unready or life is None or life < SHORT_LIFE):
                if last.get("reason") == "OOMKilled":
                    name = pod["metadata"]["name"]
                    return out_of_memory(f"server pod {name}", name, _tail(pod, last, log_tails))
                text = f"crashed {restarts} times, the last time with exit code {last.get('exitCode')}"
                return _failure(pod, last, log_tails, text)
    return None


def _life(last: Manifest) -> timedelta | None:
    started, finished = parse_time(last.get("startedAt")), parse_time(last.get("finishedAt"))
    return finished - started if started and finished else None


def _never_ready(pod: Manifest, last: Manifest) -> bool:
    """Return whether the pod has not been ready since before a container's last run started."""
    for condition in pod["status"].get("conditions") or []:
        if condition["type"] == "Ready" and condition["status"] != "True":
            since, started = parse_time(condition.get("lastTransitionTime")), parse_time(last.get("startedAt"))
            return bool(since and started and since <= started)
    return False


def _startup_timeout(deployment: Manifest) -> timedelta:
    """Return how long the startup probe lets a container start; its first failure comes at once."""
    containers = deployment["spec"]["template"]["spec"]["containers"]
    probe = next(c["startupProbe"] for c in containers if "startupProbe" in c)
    return timedelta(seconds=(probe["failureThreshold"] - 1) * probe["periodSeconds"])


def _failure(pod: Manifest, last: Manifest, log_tails: dict[str, str], text: str) -> Failure:
    name = pod["metadata"]["name"]
    return Failure(Reason.SERVER_NOT_READY, f"server pod {name} {text}", name, _tail(pod, last, log_tails))


def _tail(pod: Manifest, last: Manifest, log_tails: dict[str, str]) -> str:
    return log_tails.get(pod["metadata"]["name"]) or last.get("message") or ""
