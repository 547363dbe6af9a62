"""Why a pod failed, and whether a retry can help.

The cause is the first of these that exists: a result that reports a user error or a stalled server; a disruption of a
pod; a container that was OOMKilled; the result of the container that failed first; its exit code. The pods of a Job
are independent of each other, so a disruption of one of them is the cause only if no pod failed in another way.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from fusionrun.api.contract import Manifest
from fusionrun.api.pod import COMPLETION_INDEX_ANNOTATION, EXIT_SIGTERM, EXIT_USER_ERROR
from fusionrun.api.results.result import STOPPED, Outcome, StageResult, decode_result
from fusionrun.api.status.conditions import Reason
from fusionrun.api.status.stages import LOG_TAIL_CHARACTERS
from fusionrun.state.observe.object_fields import (
    container_statuses,
    ended_containers,
    failed_init_containers,
    is_deleting,
    pod_phase,
)

EVICTED = "Evicted"
"""Reason of a pod that the kubelet evicted for lack of memory or disk. An API-initiated eviction deletes the pod."""

DISRUPTIONS = frozenset({EVICTED, "Preempted", "Preempting", "NodeLost", "NodeShutdown", "Shutdown", "Terminated"})
"""Pod reasons that are infrastructure errors. Source: Kubernetes, kubelet eviction and graceful node shutdown."""

DISRUPTION_TARGET = "DisruptionTarget"
"""Condition of a pod that is ended by a drain, a preemption, a taint or its node. Source: Kubernetes, "Disruptions"."""

_OWN_USE = re.compile(r"exceed(s|ed)\b|has larger consumption of memory")
"""Message of an eviction that the pod's own use caused: more than a limit, or more memory than it requested.

Source: Kubernetes, pkg/kubelet/eviction/helpers.go (``emptyDirMessageFmt``, ``containerMessageFmt`` and others).
"""

DECISIVE = (Reason.USER_ERROR, Reason.SERVER_WEDGED)
"""Reasons in a pod's result that end its Job at once (``objects.job.wrap_in_job``), even after other failures."""

OUT_OF_MEMORY_RETRIES = 1
"""Retries of a container that was OOMKilled.

The kernel may have chosen it because its node ran out of memory, and the pod does not tell: the runtime reports
OOMKilled for every kill in the container's cgroup. Source: Linux, cgroup-v2, ``memory.events``: ``oom_kill`` counts
processes "killed by any kind of OOM killer".
"""


@dataclass(frozen=True)
class Failure:
    """Why a stage failed."""

    reason: Reason
    message: str
    pod: str = ""
    log_tail: str = ""
    disrupted: bool = False
    """Whether the node, or somebody else, ended the pod: it does not count against ``backoffLimit``."""

    @property
    def retryable(self) -> bool:
        """Whether the same task may succeed in another attempt."""
        return self.reason in (Reason.INFRASTRUCTURE_ERROR, Reason.SERVER_WEDGED)


def explain(pods: list[Manifest], log_tails: dict[str, str], *, together: bool = False) -> Failure | None:
    """Explain the first failure among the pods of a stage; None if none failed.

    ``together``: the pods depend on each other, as the ranks of a training. After the disruption of one the others
    fail, so the disruption is the cause.
    """
    all_ended = sorted(
        ((terminated, pod) for pod in pods for terminated in ended_containers(pod) if terminated.get("exitCode", 0)),
        key=lambda pair: pair[0].get("finishedAt") or "",
    )
    for terminated, pod in all_ended:
        if (failure := _from_result(terminated, pod, log_tails)) and failure.reason in DECISIVE:
            return failure
    disrupted = [failure for pod in pods if (failure := _disruption(pod))]
    if together and disrupted:
        return disrupted[0]
    own = _own_failure(pods, all_ended, log_tails, together=together)
    return own or next(iter([*disrupted, *(failure for pod in pods if (failure := _stop(pod)))]), None)


def _own_failure(
    pods: list[Manifest],
    all_ended: list[tuple[Manifest, Manifest]],
    log_tails: dict[str, str],
    *,
    together: bool,
) -> Failure | None:
    """Explain the first failure of a pod that was not disrupted; ``all_ended``: failed containers and their pods."""
    ended = [(t, pod) for t, pod in all_ended if not (_disruption(pod) or _stopped(pod))]
    reported = [failure for terminated, pod in ended if (failure := _from_result(terminated, pod, log_tails))]
    killed = [pod for terminated, pod in ended if _is_out_of_memory(terminated)]
    if killed and (together or not reported or len(killed) > OUT_OF_MEMORY_RETRIES):
        return out_of_memory(f"pod {_name(killed[0])}", _name(killed[0]), log_tails.get(_name(killed[0]), ""))
    if reported:
        return reported[0]
    if not all_ended:
        ended = [(t, pod) for pod in pods for t in failed_init_containers(pod)]
    return _from_exit_code(*ended[0], log_tails) if ended else None


def explain_early(pods: list[Manifest], log_tails: dict[str, str], backoff_limit: int) -> Failure | None:
    """Explain why a Job must end before its retries are used up: more retries cannot help.

    The Job does not count evictions (``objects.job.wrap_in_job``), so it would retry a pod that uses more than it may
    forever. More such evictions of one shard than ``backoff_limit`` end it, as do repeated OOM kills.
    """
    killed = [pod for pod in pods if any(map(_is_out_of_memory, ended_containers(pod)))]
    if pod := _repeated(killed, OUT_OF_MEMORY_RETRIES):
        return out_of_memory(f"pod {_name(pod)}", _name(pod), log_tails.get(_name(pod), ""))
    evicted = [pod for pod in pods if _evicted_for_own_use(pod)]
    last = _repeated(evicted, backoff_limit)
    if last is None:
        return None
    text = f"{len(evicted)} pods were evicted, the last one with this message: {last['status'].get('message', '')}"
    return Failure(Reason.INFRASTRUCTURE_ERROR, text, _name(last))


def disruptions(pods: Iterable[Manifest]) -> int:
    """Count the pods that a disruption ended."""
    found = [failure for pod in pods if (failure := _disruption(pod) or _stop(pod))]
    return sum(failure.disrupted for failure in found)


def checkpoint_step(pods: Iterable[Manifest]) -> int | None:
    """Return the newest checkpoint that the results of failed pods name, in steps; None if none does."""
    results = (decode_result(t.get("message") or "") for pod in pods for t in ended_containers(pod))
    return max((r.checkpoint_step for r in results if r and r.checkpoint_step is not None), default=None)


def out_of_memory(subject: str, pod: str, log_tail: str) -> Failure:
    """Return the failure of a pod that was OOMKilled."""
    return Failure(
        Reason.OUT_OF_MEMORY,
        f"{subject} was OOMKilled: it exceeded its memory limit, or its node ran out of memory: "
        "raise resources.limits.memory, and set requests.memory to the same value",
        pod,
        log_tail,
    )


def _is_out_of_memory(terminated: Manifest) -> bool:
    return bool(terminated.get("reason") == "OOMKilled")


def _repeated(pods: list[Manifest], limit: int) -> Manifest | None:
    """Return the last of more than ``limit`` pods of one shard, or of a Job without shards; None if there is none."""
    counts: Counter[str] = Counter()
    for pod in pods:
        index = (pod["metadata"].get("annotations") or {}).get(COMPLETION_INDEX_ANNOTATION, "")
        counts[index] += 1
        if counts[index] > limit:
            return pod
    return None


def _evicted_for_own_use(pod: Manifest) -> bool:
    status = pod.get("status") or {}
    return status.get("reason") == EVICTED and bool(_OWN_USE.search(status.get("message") or ""))


def _disruption(pod: Manifest) -> Failure | None:
    """Return the disruption that a pod itself reports; None if it reports none.

    A kubelet that rejects a pod starts no container, and gives the reason in the status of the pod:
    UnexpectedAdmissionError, OutOfcpu, OutOfnvidia.com/gpu, NodeAffinity and others. Source: Kubernetes,
    pkg/kubelet/lifecycle/predicate.go.
    """
    status = pod.get("status") or {}
    reason, text = status.get("reason"), status.get("message") or ""
    if pod_phase(pod) == "Failed" and reason in DISRUPTIONS:
        return _disrupted(pod, reason, text, counts=_evicted_for_own_use(pod))
    for condition in status.get("conditions") or []:
        if condition["type"] == DISRUPTION_TARGET and condition["status"] == "True" and pod_phase(pod) == "Failed":
            return _disrupted(pod, condition.get("reason") or DISRUPTION_TARGET, condition.get("message") or "")
    if pod_phase(pod) == "Failed" and reason and not _has_run(pod):
        return _disrupted(pod, reason, text)
    return None


def _disrupted(pod: Manifest, reason: str, text: str, *, counts: bool = False) -> Failure:
    message = f"pod {_name(pod)}: {reason}: {text}"
    return Failure(Reason.INFRASTRUCTURE_ERROR, message, _name(pod), disrupted=not counts)


def _has_run(pod: Manifest) -> bool:
    """Return whether a container of a pod, also an init container, has started."""
    states = (container.get("state") or {} for container in container_statuses(pod, init=True))
    return any("terminated" in state or "running" in state for state in states)


def _stopped(pod: Manifest) -> bool:
    """Return whether SIGTERM ended a pod: only the kubelet sends it, when somebody deletes the pod.

    torchrun exits with 1 after SIGTERM, and sends it to its own processes when one of them has failed.
    """
    for terminated in ended_containers(pod):
        if terminated.get("exitCode") == EXIT_SIGTERM:
            return True
        result = decode_result(terminated.get("message") or "")
        if is_deleting(pod) and terminated.get("exitCode") and result and result.message.startswith(STOPPED):
            return True
    return False


def _stop(pod: Manifest) -> Failure | None:
    if not _stopped(pod):
        return None
    text = f"pod {_name(pod)} was {STOPPED}: somebody deleted it, or its node shut down"
    return Failure(Reason.INFRASTRUCTURE_ERROR, text, _name(pod), disrupted=True)


def _from_exit_code(terminated: Manifest, pod: Manifest, log_tails: dict[str, str]) -> Failure:
    text = terminated.get("message") or terminated.get("reason") or ""
    user = terminated.get("exitCode") == EXIT_USER_ERROR
    return Failure(
        Reason.USER_ERROR if user else Reason.INFRASTRUCTURE_ERROR,
        f"pod {_name(pod)} exited with code {terminated.get('exitCode')}: {text.strip()[-300:]}",
        _name(pod),
        (log_tails.get(_name(pod)) or text)[-LOG_TAIL_CHARACTERS:],
    )


def _from_result(terminated: Manifest, pod: Manifest, log_tails: dict[str, str]) -> Failure | None:
    result: StageResult | None = decode_result(terminated.get("message") or "")
    if result is None or result.outcome is not Outcome.FAILED:
        return None
    reason = Reason.INFRASTRUCTURE_ERROR
    if result.user_error:
        reason = Reason.USER_ERROR
    elif result.server_wedged:
        reason = Reason.SERVER_WEDGED
    return Failure(reason, result.message, _name(pod), log_tails.get(_name(pod), "")[-LOG_TAIL_CHARACTERS:])


def _name(pod: Manifest) -> str:
    return str(pod["metadata"]["name"])
