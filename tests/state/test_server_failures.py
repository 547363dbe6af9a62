"""A server fails if it crashes repeatedly or is not ready in time, but not while it waits or after an old crash."""

from datetime import timedelta

import pytest

from fusionrun.api.status.conditions import Reason
from fusionrun.state.observe.object_fields import format_time
from support.world import World, world_after


def served(**changes) -> World:
    """Return a world in which serve/ada is starting."""
    return world_after("resolve", "prepare/prompts", **changes)


def crashed(world: World, restarts: int, last: dict, life: timedelta | None = None, *, was_ready: bool = False) -> None:
    """Let the container of the server crash after it ran for some time."""
    pod = world.place("serve/ada")
    unready_since = world.now - timedelta(minutes=1)
    if life:
        last = last | {"startedAt": format_time(world.now), "finishedAt": format_time(world.now + life)}
        unready_since = world.now + life if was_ready else unready_since
    ready = {"type": "Ready", "status": "False", "lastTransitionTime": format_time(unready_since)}
    pod["status"]["conditions"] = [ready]
    pod["status"]["containerStatuses"] = [{"restartCount": restarts, "lastState": {"terminated": last}}]
    world.settle()


NOT_READY = Reason.SERVER_NOT_READY


@pytest.mark.parametrize(
    ("restarts", "last", "life", "was_ready", "reason", "text"),
    [
        (1, {"exitCode": 1}, None, False, None, None),
        (3, {"exitCode": 1}, timedelta(seconds=40), False, NOT_READY, "3 times, the last time with exit code 1"),
        (3, {"exitCode": 1}, timedelta(minutes=2), True, NOT_READY, "crashed 3 times"),
        (3, {"exitCode": 1}, timedelta(minutes=12), True, NOT_READY, "crashed 3 times"),
        (7, {"exitCode": 139}, timedelta(hours=1), True, None, None),
        (7, {"exitCode": 139}, timedelta(days=2), True, None, None),
        (3, {"exitCode": 137, "reason": "OOMKilled"}, None, False, Reason.OUT_OF_MEMORY, "resources.limits.memory"),
        (1, {"exitCode": 143}, timedelta(hours=1), False, NOT_READY, "was not ready within startupTimeoutSeconds"),
    ],
    ids=[
        "one crash",
        "crash loop",
        "crash loop after Ready",
        "crash loop after ten minutes of loading",
        "one in an hour",
        "old crashes",
        "out of memory",
        "startup probe",
    ],
)
def test_the_cause_of_a_failed_server(restarts, last, life, was_ready, reason, text):
    world = served(backoffLimit=0)
    crashed(world, restarts, last, life, was_ready=was_ready)
    stage = world.stage("serve/ada")
    if reason is None:
        assert stage.state == "Running"
    else:
        assert (stage.state, stage.reason) == ("Failed", reason)
        assert text in stage.message


@pytest.mark.parametrize("now", ["loaded", "evicted", "deleted"])
def test_old_crashes_do_not_fail_a_server_that_is_not_ready_for_a_moment(now):
    world = served()
    last = {"exitCode": 1, "startedAt": format_time(world.now), "finishedAt": format_time(world.now)}
    pod = world.place("serve/ada", **({"deletionTimestamp": format_time(world.now)} if now == "deleted" else {}))
    container = {"restartCount": 3, "started": now == "loaded", "lastState": {"terminated": last}}
    pod["status"]["containerStatuses"] = [container | {"state": {"running": {"startedAt": format_time(world.now)}}}]
    if now == "evicted":
        pod["status"] |= {"phase": "Failed", "reason": "Evicted"}
        world.place("serve/ada")
    world.pass_time(days=5)
    assert world.stage("serve/ada").state == "Running"


def test_a_server_whose_network_is_open_fails_with_what_the_check_reports():
    world = served()
    pod = world.place("serve/ada")
    ended = {"exitCode": 2, "message": "network access: tcp 10.96.0.1:443 answered"}
    pod["status"]["containerStatuses"] = []
    check = {"name": "network-check", "restartCount": 1, "lastState": {"terminated": ended}}
    pod["status"]["initContainerStatuses"] = [check | {"lastState": {"terminated": ended | {"exitCode": 130}}}]
    world.settle()
    assert world.stage("serve/ada").state == "Running", "it is repeated"
    pod["status"]["initContainerStatuses"] = [check]
    world.settle()
    stage = world.stage("serve/ada")
    assert (stage.state, stage.reason) == ("Failed", Reason.USER_ERROR)
    assert "tcp 10.96.0.1:443 answered" in stage.message


def test_a_failed_server_fails_the_run_with_its_log():
    world = served(backoffLimit=0)
    crashed(world, 3, {"exitCode": 1, "message": "ValueError: no KV cache"}, timedelta(seconds=40))
    assert world.stage("serve/ada").log_tail == "ValueError: no KV cache"
    assert world.condition("Failed")[1] == Reason.STAGE_FAILED
    assert not world.workloads()


def test_a_server_that_waits_for_a_node_never_fails():
    """The progress deadline that older releases set on the Deployment is ignored."""
    world = served()
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    pod = world.place("serve/ada")
    pod["status"] = {"phase": "Pending", "conditions": [{"reason": "Unschedulable", "message": "0/9 nodes"}]}
    server = next(o for o in world.objects.values() if o["kind"] == "Deployment")
    server["status"] = {"conditions": [late], "replicas": 1}
    world.pass_time(days=3)
    assert world.stage("serve/ada").state == "Running"
    assert "Unschedulable: 0/9 nodes" in world.stage("serve/ada").message
