"""Why a pod failed, in order of precedence."""

from typing import Any

import pytest

from fusionrun.api.results.result import Outcome, StageResult, encode_result
from fusionrun.api.status.conditions import Reason
from fusionrun.state.observe.failures import DISRUPTIONS, Failure, explain


def failed_result(message: str, *, user: bool = False, stalled: bool = False) -> str:
    result = StageResult(outcome=Outcome.FAILED, user_error=user, server_wedged=stalled, message=message)
    return encode_result(result)


def pod(name: str, finished: str = "2026-01-02T03:04:05Z", reason: str = "", **terminated: Any) -> dict[str, Any]:
    ended = {"exitCode": 1, "finishedAt": finished} | terminated
    status: dict[str, Any] = {"phase": "Failed", "containerStatuses": [{"name": "c", "state": {"terminated": ended}}]}
    if reason:
        status |= {"reason": reason, "message": "low on memory"}
    return {"metadata": {"name": name}, "status": status}


def why(*pods: dict[str, Any], tails: dict[str, str] | None = None) -> Failure:
    found = explain(list(pods), tails or {})
    assert found is not None
    return found


@pytest.mark.parametrize("reason", sorted(DISRUPTIONS))
def test_a_disrupted_pod_is_an_infrastructure_error(reason):
    found = why(pod("a", reason=reason, exitCode=137))
    assert found.reason is Reason.INFRASTRUCTURE_ERROR
    assert found.message == f"pod a: {reason}: low on memory"
    assert found.retryable
    assert found.disrupted


def failed_pod(reason: str = "", message: str = "", condition: str = "", **more: Any) -> dict[str, Any]:
    """Return a failed pod without containers, or with a container that ended (``exit_code``)."""
    status: dict[str, Any] = {"phase": "Failed", "reason": reason, "message": message}
    if condition:
        status["conditions"] = [{"type": "DisruptionTarget", "status": "True", "reason": condition, "message": "bye"}]
    if exit_code := more.get("exit_code"):
        ended = {"exitCode": exit_code, "message": more.get("result", "")}
        status["containerStatuses"] = [{"name": "c", "state": {"terminated": ended}}]
    deleted = {"deletionTimestamp": "2026-01-02T03:04:05Z"} if more.get("deleted") else {}
    return {"metadata": {"name": "a", **deleted}, "status": status}


USES = "Container c was using {}, request is 0, has larger consumption of"
STOPPED_BY = failed_result("stopped by SIGTERM")


@pytest.mark.parametrize(
    ("failed", "disrupted", "text"),
    [
        (failed_pod("UnexpectedAdmissionError", "no healthy devices"), True, "UnexpectedAdmissionError: no healthy"),
        (failed_pod("OutOfnvidia.com/gpu", "Node didn't have enough"), True, "OutOfnvidia.com/gpu: Node didn't"),
        (failed_pod("NodeAffinity", "Pod was rejected"), True, "NodeAffinity: Pod was rejected"),
        (failed_pod(condition="EvictionByEvictionAPI", exit_code=137), True, "EvictionByEvictionAPI: bye"),
        (failed_pod(condition="DeletionByTaintManager", exit_code=143), True, "DeletionByTaintManager: bye"),
        (failed_pod(exit_code=143, result=STOPPED_BY), True, "somebody deleted it, or its node shut down"),
        (failed_pod(exit_code=1, result=STOPPED_BY, deleted=True), True, "stopped by SIGTERM"),
        (failed_pod(exit_code=1, result=STOPPED_BY), False, "stopped by SIGTERM"),
        (failed_pod(exit_code=1, result=failed_result("NaN"), deleted=True), False, "NaN"),
        (failed_pod("Evicted", f"{USES.format('9Gi')} memory. "), False, "9Gi"),
        (failed_pod("Evicted", "Container c exceeded its local ephemeral storage limit"), False, "exceeded"),
        (failed_pod("Evicted", f"{USES.format('9Ki')} ephemeral-storage. "), True, "9Ki"),
    ],
    ids=["device plugin", "no GPU", "labels changed", "drain", "taint", "SIGTERM", "torchrun after SIGTERM",
         "SIGTERM of torchrun", "failed, then deleted", "own memory", "own disk", "full disk of the node"],
)  # fmt: skip
def test_what_counts_as_a_disruption(failed, disrupted, text):
    for together in (False, True):
        found = explain([failed], {}, together=together)
        assert found is not None
        assert (found.reason, found.disrupted) == (Reason.INFRASTRUCTURE_ERROR, disrupted)
        assert text in found.message


@pytest.mark.parametrize(("together", "message"), [(True, "pod a: Evicted: node"), (False, "reset by peer")])
def test_a_disruption_is_the_cause_only_if_the_pods_depend_on_each_other(together, message):
    """The other ranks of a training fail because of it. A Job does not count it."""
    other = pod("b", message=failed_result("reset by peer"))
    assert explain([failed_pod("Evicted", "node", exit_code=137), other], {}, together=together).message == message


def test_pods_that_are_stopped_after_the_failure_of_another_are_not_its_cause():
    stopped = failed_pod(exit_code=1, result=STOPPED_BY, deleted=True)
    for together in (False, True):
        assert explain([stopped, pod("b", message=failed_result("NaN"))], {}, together=together).message == "NaN"


def test_a_pod_over_its_memory_limit_is_a_user_error():
    assert why(pod("a", exitCode=137)).reason is Reason.INFRASTRUCTURE_ERROR  # the cause is unknown
    killed = pod("c", exitCode=137)
    killed["status"]["containerStatuses"][0]["state"]["terminated"]["reason"] = "OOMKilled"
    found = why(pod("a", exitCode=1), killed, tails={"c": "last line"})
    assert (found.reason, found.pod, found.log_tail) == (Reason.OUT_OF_MEMORY, "c", "last line")
    assert "resources.limits.memory" in found.message
    assert not found.retryable


def test_a_failed_init_container_is_the_cause_if_no_other_container_has_run():
    failed = {"name": "directory", "state": {"terminated": {"exitCode": 1, "message": "PermissionError: '/data/x'"}}}
    waiting = {"name": "score", "state": {"waiting": {"reason": "PodInitializing"}}}
    status = {"phase": "Failed", "initContainerStatuses": [failed], "containerStatuses": [waiting]}
    found = why({"metadata": {"name": "a"}, "status": status})
    assert (found.reason, found.message) == (
        Reason.INFRASTRUCTURE_ERROR,
        "pod a exited with code 1: PermissionError: '/data/x'",
    )
    killed = {"name": "runner", "state": {"terminated": {"exitCode": 137}}}
    both = pod("b", exitCode=3)
    both["status"]["initContainerStatuses"] = [killed]
    assert why(both).message == "pod b exited with code 3: "


FIRST, SECOND = "2026-01-02T03:04:05Z", "2026-01-02T03:09:00Z"


def ended(finished: str, message: str, **blame: bool) -> dict[str, Any]:
    return pod("p", finished, message=failed_result(message, **blame))


@pytest.mark.parametrize(
    ("pods", "reason", "message"),
    [
        ([ended(SECOND, "timed out"), ended(FIRST, "NaN in the loss")], Reason.INFRASTRUCTURE_ERROR, "NaN in the loss"),
        ([pod("p", FIRST, reason="Evicted"), ended(SECOND, "empty", user=True)], Reason.USER_ERROR, "empty"),
        ([ended(FIRST, "lost a peer"), ended(SECOND, "too large", user=True)], Reason.USER_ERROR, "too large"),
        ([ended(FIRST, "reset"), ended(SECOND, "no token", stalled=True)], Reason.SERVER_WEDGED, "no token"),
    ],
    ids=["the first failure", "bad input after an eviction", "not the rank that lost its peer", "a stalled server"],
)
def test_the_cause_among_several_pods(pods, reason, message):
    """A Job continues after an eviction or another retried failure, so the next result ended it."""
    found = why(*pods)
    assert (found.reason, found.message, found.retryable) == (reason, message, reason is not Reason.USER_ERROR)


def test_without_a_result_the_exit_code_decides():
    assert why(pod("a", exitCode=2)).reason is Reason.USER_ERROR
    found = why(pod("a", exitCode=130, message="Traceback ...\nKeyError: 'x'"))
    assert found.reason is Reason.INFRASTRUCTURE_ERROR
    assert found.message == "pod a exited with code 130: Traceback ...\nKeyError: 'x'"
    assert found.log_tail == "Traceback ...\nKeyError: 'x'"


def test_a_result_of_success_does_not_explain_a_failure():
    done = encode_result(StageResult(outcome=Outcome.SUCCEEDED))
    assert why(pod("a", exitCode=1, message=done)).message.startswith("pod a exited with code 1")


def test_without_a_failed_container_there_is_no_failure():
    running = {"metadata": {"name": "a"}, "status": {"phase": "Running"}}
    assert explain([running, pod("b", exitCode=0)], {}) is None
    assert explain([], {}) is None
