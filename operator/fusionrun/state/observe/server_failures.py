"""How a model server is: ready, on its way, or failed for good. Waiting for a node or an image is never a failure."""

from datetime import datetime, timedelta

from fusionrun.api.models import Manifest
from fusionrun.api.status import Reason
from fusionrun.state.observe.failures import Failure

CRASH_LOOP_RESTARTS = 3
"""Restarts of a server's container after which one more short life counts as a crash loop."""
SHORT_LIFE = timedelta(minutes=10)
"""A container that ran for longer was no part of a crash loop. Source: Kubernetes, "Pod Lifecycle": after 10 minutes
without a problem the kubelet resets a container's restart back-off."""


def server_failure(deployment: Manifest, pods: list[Manifest], log_tails: dict[str, str]) -> Failure | None:
    """Say why a server that is not ready will never be; None while it may.

    Notes
    -----
    A container's count of restarts is over its whole life, and a server may run for days: a restart counts only when
    the life before it was short, or never got ready. One that was alive for as long as the startup probe allows and
    did not get ready was killed by that probe: its time begins with the container, not with the queue for a node.
    """
    for pod in pods:
        for container in (pod.get("status") or {}).get("containerStatuses") or []:
            last = (container.get("lastState") or {}).get("terminated")
            if not last:
                continue
            life, unready = _life(last), _never_ready(pod, last)
            if unready and life is not None and life >= _startup_timeout(deployment):
                return _late(pod, last, log_tails)
            restarts = int(container.get("restartCount") or 0)
            if restarts >= CRASH_LOOP_RESTARTS and (unready or life is None or life < SHORT_LIFE):
                return _crashed(pod, restarts, last, log_tails)
    return None


def _life(last: Manifest) -> timedelta | None:
    if not last.get("startedAt") or not last.get("finishedAt"):
        return None
    return datetime.fromisoformat(last["finishedAt"]) - datetime.fromisoformat(last["startedAt"])


def _never_ready(pod: Manifest, last: Manifest) -> bool:
    """Whether the pod was not ready at any time in a container's last life: it has not been since before its start."""
    for condition in pod["status"].get("conditions") or []:
        if condition["type"] == "Ready" and condition["status"] != "True":
            since, started = condition.get("lastTransitionTime"), last.get("startedAt")
            return bool(since and started and datetime.fromisoformat(since) <= datetime.fromisoformat(started))
    return False


def _startup_timeout(deployment: Manifest) -> timedelta:
    """Return how long the startup probe lets a container start; the first of its failures comes at once."""
    containers = deployment["spec"]["template"]["spec"]["containers"]
    probe = next(c["startupProbe"] for c in containers if "startupProbe" in c)
    return timedelta(seconds=(probe["failureThreshold"] - 1) * probe["periodSeconds"])


def _late(pod: Manifest, last: Manifest, log_tails: dict[str, str]) -> Failure:
    name = pod["metadata"]["name"]
    text = f"server pod {name} was not ready within startupTimeoutSeconds"
    return Failure(Reason.SERVER_NOT_READY, text, name, log_tails.get(name) or last.get("message") or "")


def _crashed(pod: Manifest, restarts: int, last: Manifest, log_tails: dict[str, str]) -> Failure:
    name = pod["metadata"]["name"]
    tail = log_tails.get(name) or last.get("message") or ""
    if last.get("reason") == "OOMKilled":
        text = f"server pod {name} was killed for using more memory than its limit: raise resources.limits.memory"
        return Failure(Reason.OUT_OF_MEMORY, text, name, tail)
    text = f"server pod {name} crashed {restarts} times, last with exit code {last.get('exitCode')}"
    return Failure(Reason.SERVER_NOT_READY, text, name, tail)
