"""When a model server has failed: not while it waits, and not for an old crash."""

from datetime import timedelta

from fusionrun.api.status import Reason
from fusionrun.state.observe.object_fields import format_time
from support.runs import make_run
from support.world import World


def served(**changes) -> World:
    """Return a world in which serve/ada is starting."""
    world = World(make_run(**changes))
    world.finish_in_turn("resolve", "prepare/prompts")
    return world


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


def test_one_crash_is_no_failure():
    world = served()
    crashed(world, 1, {"exitCode": 1})
    assert world.stage("serve/ada").state == "Running"


def test_a_crash_loop_fails_the_server_with_its_log():
    world = served()
    crashed(world, 3, {"exitCode": 1, "message": "ValueError: no KV cache"}, timedelta(seconds=40))
    stage = world.stage("serve/ada")
    assert (stage.state, stage.reason) == ("Failed", Reason.SERVER_NOT_READY)
    assert "crashed 3 times, the last time with exit code 1" in stage.message
    assert stage.log_tail == "ValueError: no KV cache"
    assert world.condition("Failed")[1] == Reason.STAGE_FAILED
    assert not world.workloads()


def test_a_server_that_crashes_soon_after_it_is_ready_fails():
    world = served()
    crashed(world, 3, {"exitCode": 1}, timedelta(minutes=2), was_ready=True)
    assert world.stage("serve/ada").state == "Failed"


def test_a_server_that_ran_for_days_may_restart_any_number_of_times():
    world = served()
    crashed(world, 7, {"exitCode": 139}, timedelta(days=2), was_ready=True)
    assert world.stage("serve/ada").state == "Running"


def test_a_server_over_its_memory_limit_names_the_limit():
    world = served()
    crashed(world, 3, {"exitCode": 137, "reason": "OOMKilled"})
    assert world.stage("serve/ada").reason == Reason.OUT_OF_MEMORY
    assert "resources.limits.memory" in world.stage("serve/ada").message


def test_a_server_that_its_startup_probe_killed_fails_at_once_and_names_the_field():
    world = served()
    crashed(world, 1, {"exitCode": 143}, timedelta(seconds=3600))
    assert world.stage("serve/ada").reason == Reason.SERVER_NOT_READY
    assert "was not ready within startupTimeoutSeconds" in world.stage("serve/ada").message


def test_a_server_that_waits_for_a_node_never_fails():
    """Nor does the progress deadline count that older releases set on its Deployment."""
    world = served()
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    pod = world.place("serve/ada")
    pod["status"] = {"phase": "Pending", "conditions": [{"reason": "Unschedulable", "message": "0/9 nodes"}]}
    server = next(o for o in world.objects.values() if o["kind"] == "Deployment")
    server["status"] = {"conditions": [late], "replicas": 1}
    world.now += timedelta(days=3)
    world.settle()
    assert world.stage("serve/ada").state == "Running"
    assert "Unschedulable: 0/9 nodes" in world.stage("serve/ada").message
