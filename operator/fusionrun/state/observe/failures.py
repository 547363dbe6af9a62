"""Why a pod failed, and whether a retry can help.

The cause is the first of these that exists: a result that reports a user error or a stalled server; the reason of a pod
(``DISRUPTIONS``); a container that was OOMKilled; the result of the container that failed first; its exit code.
"""

from dataclasses import dataclass

from fusionrun.api.models import Manifest
from fusionrun.api.pod import EXIT_USER_ERROR
from fusionrun.api.result import Outcome, decode_result
from fusionrun.api.status import LOG_TAIL_CHARACTERS, Reason
from fusionrun.state.observe.object_fields import ended_containers, failed_init_containers

EVICTED = "Evicted"
"""Reason of a pod that the kubelet evicted for lack of memory or disk. An API-initiated eviction deletes the pod."""

DISRUPTIONS = frozenset({EVICTED, "Preempted", "Preempting", "NodeLost", "NodeShutdown", "Shutdown", "Terminated"})
"""Pod reasons that are infrastructure errors. Source: Kubernetes, kubelet eviction and graceful node shutdown."""

DECISIVE = (Reason.USER_ERROR, Reason.SERVER_WEDGED)
"""Reasons in a pod's result that end its Job at once (``objects.job.wrap_in_job``), even after other failures."""


@dataclass(frozen=True)
class Failure:
    """Why a stage failed."""

    reason: Reason
    message: str
    pod: str = ""
    log_tail: str = ""
    disrupted: bool = False
    """Whether the node or somebody else ended it, and not the stage: an eviction, a deleted pod, a lost node."""

    @property
    def retryable(self) -> bool:
        """Whether the same task may succeed in another attempt."""
        return self.reason in (Reason.INFRASTRUCTURE_ERROR, Reason.SERVER_WEDGED)


def explain(pods: list[Manifest], log_tails: dict[str, str]) -> Failure | None:
    """Explain the first failure among the pods of a stage; None if none failed."""
    ended = sorted(
        ((terminated, pod) for pod in pods for terminated in ended_containers(pod) if terminated.get("exitCode", 0)),
        key=lambda pair: pair[0].get("finishedAt") or "",
    )
    reported = [failure for terminated, pod in ended if (failure := _from_result(terminated, pod, log_tails))]
    for failure in reported:
        if failure.reason in DECISIVE:
            return failure
    for pod in pods:
        reason = pod.get("status", {}).get("reason")
        if reason in DISRUPTIONS:
            text = pod["status"].get("message", "")
            return Failure(Reason.INFRASTRUCTURE_ERROR, f"pod {_name(pod)}: {reason}: {text}", _name(pod))
    for terminated, pod in ended:
        if terminated.get("reason") == "OOMKilled":
            return out_of_memory(f"pod {_name(pod)}", _name(pod), log_tails.get(_name(pod), ""))
    if reported:
        return reported[0]
    if not ended:
        ended = [(t, pod) for pod in pods for t in failed_init_containers(pod)]
    if not ended:
        return None
    terminated, pod = ended[0]
    text = terminated.get("message") or terminated.get("reason") or ""
    user = terminated.get("exitCode") == EXIT_USER_ERROR
    return Failure(
        Reason.USER_ERROR if user else Reason.INFRASTRUCTURE_ERROR,
        f"pod {_name(pod)} exited with code {terminated.get('exitCode')}: {text.strip()[-300:]}",
        _name(pod),
        (log_tails.get(_name(pod)) or text)[-LOG_TAIL_CHARACTERS:],
    )


def explain_early(pods: list[Manifest], log_tails: dict[str, str], backoff_limit: int) -> Failure | None:
    """Explain why a Job must end before its retries are used up: more retries cannot help.

    The Job does not count evictions (``objects.job.wrap_in_job``), so it would retry a stage that is too large for its
    nodes forever. More evictions than ``backoff_limit`` end it.
    """
    failure = explain(pods, log_tails)
    if failure and failure.reason is Reason.OUT_OF_MEMORY:
        return failure
    evicted = [pod for pod in pods if pod.get("status", {}).get("reason") == EVICTED]
    if len(evicted) <= backoff_limit:
        return None
    last = evicted[-1]
    text = f"{len(evicted)} pods were evicted, the last one with this message: {last['status'].get('message', '')}"
    return Failure(Reason.INFRASTRUCTURE_ERROR, text, _name(last))


def out_of_memory(subject: str, pod: str, log_tail: str) -> Failure:
    """Return the failure of a pod that exceeded its memory limit."""
    return Failure(
        Reason.OUT_OF_MEMORY, f"{subject} exceeded its memory limit: raise resources.limits.memory", pod, log_tail
    )


def _from_result(terminated: Manifest, pod: Manifest, log_tails: dict[str, str]) -> Failure | None:
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
