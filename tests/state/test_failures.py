"""Why a pod failed, in order of precedence."""

from typing import Any

import pytest

from fusionrun.api.result import Outcome, StageResult, encode_result
from fusionrun.api.status import Reason
from fusionrun.state.observe.failures import DISRUPTIONS, Failure, explain


def failed_result(message: str, *, user: bool = False, wedged: bool = False) -> str:
    result = StageResult(outcome=Outcome.FAILED, user_error=user, server_wedged=wedged, message=message)
    return encode_result(result)


def pod(name: str, finished: str = "2026-01-02T03:04:05Z", reason: str = "", **terminated: Any) -> dict[str, Any]:
    ended = {"exitCode": 1, "finishedAt": finished} | terminated
    status: dict[str, Any] = {"phase": "Failed", "containerStatuses": [{"name": "c", "state": {"terminated": ended}}]}
    if reason:
        status |= {"reason": reason, "message": "the node said so"}
    return {"metadata": {"name": name}, "status": status}


def why(*pods: dict[str, Any], tails: dict[str, str] | None = None) -> Failure:
    found = explain(list(pods), tails or {})
    assert found is not None
    return found


@pytest.mark.parametrize("reason", sorted(DISRUPTIONS))
def test_a_disrupted_pod_is_an_infrastructure_error(reason):
    found = why(pod("a", reason=reason, exitCode=137))
    assert found.reason is Reason.INFRASTRUCTURE_ERROR
    assert found.message == f"pod a: {reason}: the node said so"
    assert found.retryable


def test_a_pod_over_its_memory_limit_is_a_user_error():
    assert why(pod("a", exitCode=137)).reason is Reason.INFRASTRUCTURE_ERROR  # the cause is unknown
    killed = pod("c", exitCode=137)
    killed["status"]["containerStatuses"][0]["state"]["terminated"]["reason"] = "OOMKilled"
    found = why(pod("a", exitCode=1), killed, tails={"c": "last line"})
    assert (found.reason, found.pod, found.log_tail) == (Reason.OUT_OF_MEMORY, "c", "last line")
    assert "resources.limits.memory" in found.message
    assert not found.retryable


def test_the_rank_that_failed_first_is_the_cause():
    late = pod("late", "2026-01-02T03:04:09Z", message=failed_result("a collective timed out"))
    early = pod("early", "2026-01-02T03:04:05Z", message=failed_result("NaN in the loss"))
    assert why(late, early).message == "NaN in the loss"


def test_bad_input_takes_precedence_over_an_earlier_eviction():
    """A Job continues after an eviction, so the result of the next pod ended it."""
    evicted = pod("first", "2026-01-02T03:04:05Z", reason="Evicted")
    refused = pod("second", "2026-01-02T03:09:00Z", exitCode=2, message=failed_result("datasets[a]: empty", user=True))
    found = why(evicted, refused)
    assert (found.reason, found.message, found.retryable) == (Reason.USER_ERROR, "datasets[a]: empty", False)


def test_a_stalled_server_takes_precedence_over_an_earlier_retried_failure():
    """The Job retried the first failure; the second one ended it."""
    first = pod("first", "2026-01-02T03:04:05Z", message=failed_result("connection reset"))
    second = pod("second", "2026-01-02T03:09:00Z", exitCode=131, message=failed_result("server wedged", wedged=True))
    found = why(first, second)
    assert (found.reason, found.message, found.retryable) == (Reason.SERVER_WEDGED, "server wedged", True)


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
