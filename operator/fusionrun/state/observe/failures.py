"""Why a pod failed, and whether trying again can help.

The order: a StageResult that blames the input or the server, since nothing else can cause one; the pod's own reason
(Evicted and Preempted are the infrastructure's, OOMKilled is the user's); the earliest failing container's StageResult;
its exit code; and with none of these the infrastructure.
"""

from dataclasses import dataclass
from typing import Any

from fusionrun.api.models import Manifest
from fusionrun.api.result import Outcome, decode_result
from fusionrun.api.status import LOG_TAIL_CHARACTERS, Reason
from fusionrun.api.task import EXIT_USER_ERROR

EVICTED = "Evicted"
"""What the kubelet says of a pod that it put out for want of memory or disk; an eviction by the API leaves no pod."""

DISRUPTIONS = frozenset({EVICTED, "Preempted", "Preempting", "NodeLost", "NodeShutdown", "Shutdown", "Terminated"})
"""Pod reasons that are the infrastructure's. Source: Kubernetes, kubelet eviction and graceful node shutdown."""

DECISIVE = (Reason.USER_ERROR, Reason.SERVER_WEDGED)
"""What a pod says that ends its Job at once (``objects.job.wrap_in_job``), whatever failed before."""


@dataclass(frozen=True)
class Failure:
    """A failed pod, explained."""

    reason: Reason
    message: str
    pod: str
    log_tail: str = ""

    @property
    def retryable(self) -> bool:
        """Whether the same work may succeed when it is tried again."""
        return self.reason in (Reason.INFRASTRUCTURE_ERROR, Reason.SERVER_WEDGED)


def explain(pods: list[Manifest], log_tails: dict[str, str]) -> Failure | None:
    """Explain the earliest failure among a stage's pods; None when none has failed."""
    ended = sorted(
        (
            (container["state"]["terminated"], pod)
            for pod in pods
            for container in _containers(pod)
            if _failed(container)
        ),
        key=lambda pair: pair[0].get("finishedAt") or "",
    )
    told = [failure for terminated, pod in ended if (failure := _from_result(terminated, pod, log_tails))]
    for failure in told:
        if failure.reason in DECISIVE:
            return failure
    for pod in pods:
        reason = pod.get("status", {}).get("reason")
        if reason in DISRUPTIONS:
            text = pod["status"].get("message", "")
            return Failure(Reason.INFRASTRUCTURE_ERROR, f"pod {_name(pod)}: {reason}: {text}", _name(pod))
    for terminated, pod in ended:
        if terminated.get("reason") == "OOMKilled":
            message = f"pod {_name(pod)} was killed for using more memory than its limit: raise resources.limits.memory"
            return Failure(Reason.OUT_OF_MEMORY, message, _name(pod), log_tails.get(_name(pod), ""))
    if told:
        return told[0]
    if not ended:
        return None
    terminated, pod = ended[0]
    text = terminated.get("message") or terminated.get("reason") or ""
    user = terminated.get("exitCode") == EXIT_USER_ERROR
    return Failure(
        Reason.USER_ERROR if user else Reason.INFRASTRUCTURE_ERROR,
        f"pod {_name(pod)} exited with {terminated.get('exitCode')}: {text.strip()[-300:]}",
        _name(pod),
        (log_tails.get(_name(pod)) or text)[-LOG_TAIL_CHARACTERS:],
    )


def explain_early(pods: list[Manifest], log_tails: dict[str, str], backoff_limit: int) -> Failure | None:
    """Explain why a Job that would go on has to end: trying again will not help.

    Parameters
    ----------
    pods, log_tails
        The Job's pods, and the ends of their logs by name.
    backoff_limit
        How many evictions are taken for bad luck. A Job counts none of them (``objects.job.wrap_in_job``), and a stage
        that is too large for its nodes would be tried for ever.
    """
    failure = explain(pods, log_tails)
    if failure and failure.reason is Reason.OUT_OF_MEMORY:
        return failure
    evicted = [pod for pod in pods if pod.get("status", {}).get("reason") == EVICTED]
    if len(evicted) <= backoff_limit:
        return None
    last = evicted[-1]
    text = f"its nodes evicted {len(evicted)} of its pods: {last['status'].get('message', '')}"
    return Failure(Reason.INFRASTRUCTURE_ERROR, text, _name(last))


def _from_result(terminated: dict[str, Any], pod: Manifest, log_tails: dict[str, str]) -> Failure | None:
    result = decode_result(terminated.get("message") or "")
    if result is None or result.outcome is not Outcome.FAILED:
        return None
    reason = Reason.INFRASTRUCTURE_ERROR
    if result.user_error:
        reason = Reason.USER_ERROR
    elif result.server_wedged:
        reason = Reason.SERVER_WEDGED
    return Failure(reason, result.message, _name(pod), log_tails.get(_name(pod), "")[-LOG_TAIL_CHARACTERS:])


def _name(pod: Manifest) -> str:
    name: str = pod["metadata"]["name"]
    return name


def _containers(pod: Manifest) -> list[dict[str, Any]]:
    status = pod.get("status", {})
    main: list[dict[str, Any]] = status.get("containerStatuses") or []
    return main


def _failed(container: dict[str, Any]) -> bool:
    terminated = (container.get("state") or {}).get("terminated") or {}
    return bool(terminated.get("exitCode", 0))
