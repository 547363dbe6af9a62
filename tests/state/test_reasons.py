"""One test for each reason: what brings it about, and nothing else does."""

import pytest

from fusionrun.api.status import Reason
from support.runs import called_reward, make_run
from support.world import World, succeeded

SECRET = {"name": "key", "key": "token"}
STAGES = ("resolve", "prepare/prompts")


def world_at(*finished: str, run=None) -> World:
    """Return a world in which these stages have ended."""
    world = World(run or make_run())
    for stage in finished:
        world.settle()
        world.finish(stage)
    world.settle()
    return world


def events(world: World) -> list[tuple[str, str, str]]:
    return [(e.type, e.reason, e.message) for e in world.events]


def test_a_run_at_work_says_so_in_its_conditions():
    world = world_at()
    assert world.condition("Ready") == ("False", Reason.STAGES_RUNNING, "at work: resolve")
    assert world.condition("Reconciling")[:2] == ("True", "StagesRunning")
    assert world.condition("Stalled")[0] == "False"


def test_a_run_at_its_end_is_at_rest_and_without_a_gate_knows_of_none():
    world = world_at()
    world.run_to_end()
    for kind in ("Reconciling", "Stalled", "Failed", "Suspended"):
        assert world.condition(kind)[:2] == ("False", Reason.SUCCEEDED)
    assert world.condition("EvaluationPassed")[:2] == ("Unknown", Reason.NO_GATE)


def test_a_passed_gate_is_true():
    run = make_run()
    run["spec"]["evaluation"]["gate"] = [{"benchmark": "math-test", "against": "Sft", "minDelta": 5.0}]
    world = World(run)
    world.run_to_end()
    assert world.condition("EvaluationPassed")[:2] == ("True", Reason.EVALUATION_PASSED)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"hub": {"tokenSecretRef": SECRET}}, "spec.hub.tokenSecretRef: 'key'"),
        (
            {"sources": [{"name": "far", "type": "Endpoint",
                          "endpoint": {"url": "http://far", "model": "m", "apiKeySecretRef": SECRET}}]},
            "spec.sources[far].endpoint.apiKeySecretRef: 'key'",
        ),
        (
            {"rewardModel": called_reward(apiKeySecretRef=SECRET)},
            "spec.rewardModel.endpoint.apiKeySecretRef: 'key'",
        ),
    ],
    ids=["hub", "endpoint", "reward"],
)  # fmt: skip
def test_a_secret_that_is_not_there_is_waited_for(changes, field):
    world = World(make_run(**changes), absent={"key"})
    world.settle()
    _, reason, message = world.condition("Ready")
    assert reason == Reason.SECRET_MISSING
    assert message.startswith(field)
    assert "with key 'token'" in message


def test_a_runtime_class_that_is_not_there_is_waited_for():
    world = World(make_run(scheduling={"sandboxRuntimeClassName": "isolated"}), absent={"isolated"})
    world.settle()
    assert world.condition("Ready")[1] == Reason.RUNTIME_CLASS_MISSING


def test_a_stage_without_a_running_pod_says_what_kubernetes_says():
    world = world_at()
    job = world.workloads()["resolve"]
    waiting = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    name = f"{job['metadata']['name']}-0"
    world.add_pod(job, name, {"phase": "Pending"}, {}, 0)
    pod = next(o for o in world.objects.values() if o["kind"] == "Pod")
    pod["status"]["containerStatuses"] = [waiting]
    world.settle()
    stage = world.stage("resolve")
    assert (stage.state, stage.reason) == ("Running", Reason.PODS_PENDING)
    assert stage.message == f"pod {name}: ImagePullBackOff: no such image"
    pod["status"] = {"phase": "Pending", "conditions": [{"reason": "Unschedulable", "message": "0/1 nodes"}]}
    world.settle()
    assert world.stage("resolve").message == f"pod {name}: Unschedulable: 0/1 nodes"
    pod["status"] = {"phase": "Running"}
    world.settle()
    assert (world.stage("resolve").reason, world.stage("resolve").message) == (Reason.PODS_RUNNING, None)


def test_a_server_that_answers_is_ready_and_its_generation_had_to_wait():
    world = world_at(*STAGES)
    assert world.stage("generate/ada").reason == Reason.WAITING_FOR_SERVER
    world.make_ready("serve/ada")
    world.settle()
    assert (world.stage("serve/ada").state, world.stage("serve/ada").reason) == ("Ready", Reason.SERVER_READY)


def crashed(world: World, stage: str, restarts: int, last: dict) -> None:
    server = world.workloads()[stage]
    world.add_pod(server, f"{server['metadata']['name']}-x-0", {"phase": "Running"}, {}, 0)
    pod = next(o for o in world.objects.values() if o["kind"] == "Pod" and o["metadata"]["name"].endswith("-x-0"))
    pod["status"]["containerStatuses"] = [{"restartCount": restarts, "lastState": {"terminated": last}}]


def test_a_server_that_crashes_once_may_come_back():
    world = world_at(*STAGES)
    crashed(world, "serve/ada", 1, {"exitCode": 1})
    world.settle()
    assert world.stage("serve/ada").state == "Running"


def test_a_server_that_crashes_again_and_again_fails_with_its_last_words():
    world = world_at(*STAGES)
    crashed(world, "serve/ada", 3, {"exitCode": 1, "message": "ValueError: no KV cache"})
    world.settle()
    stage = world.stage("serve/ada")
    assert (stage.state, stage.reason) == ("Failed", Reason.SERVER_NOT_READY)
    assert "crashed 3 times, last with exit code 1" in stage.message
    assert stage.log_tail == "ValueError: no KV cache"
    assert world.condition("Failed")[1] == Reason.STAGE_FAILED
    assert not world.workloads()


def test_a_server_without_memory_says_which_limit_to_raise():
    world = world_at(*STAGES)
    crashed(world, "serve/ada", 3, {"exitCode": 137, "reason": "OOMKilled"})
    world.settle()
    assert world.stage("serve/ada").reason == Reason.OUT_OF_MEMORY
    assert "resources.limits.memory" in world.stage("serve/ada").message


def test_a_server_that_never_gets_ready_fails_at_its_deadline():
    world = world_at(*STAGES)
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    world.workloads()["serve/ada"]["status"] = {"conditions": [late]}
    world.settle()
    assert world.stage("serve/ada").reason == Reason.SERVER_NOT_READY
    assert "startupTimeoutSeconds" in world.stage("serve/ada").message


def test_what_an_earlier_run_made_is_a_cache_hit():
    def all_complete(kind, task):
        result = succeeded(kind, task)
        if kind != "resolve":
            return result
        return result.model_copy(update={"complete": list(range(len(task.parameters.stages)))})

    world = World(make_run(), answer=all_complete)
    world.run_to_end()
    assert (world.stage("dpo").state, world.stage("dpo").reason) == ("Skipped", Reason.CACHE_HIT)
    assert world.stage("serve/ada").reason == Reason.NO_LONGER_NEEDED
    assert world.stage("evaluate/base").state == "Succeeded"
    assert world.condition("Complete")[0] == "True"
    assert world.status.results[0].delta == 40.0


def test_a_stages_life_is_told_by_events():
    world = world_at("resolve")
    told = events(world)
    assert ("Normal", Reason.STAGE_SUCCEEDED, "resolve") in told
    started = [m for _, reason, m in told if reason == Reason.STAGE_STARTED]
    assert started[0].startswith("resolve: Job/tiny-resolve-")
    assert any(m.startswith("prepare/prompts: Job/") for m in started)
    assert told[0][1] != Reason.STAGE_FAILED


def test_a_retry_and_a_failure_are_warnings():
    world = World(make_run(backoffLimit=1))
    for _ in range(40):
        world.settle()
        if "sft" in world.workloads():
            break
        world.step()
    world.fail("sft", {"exitCode": 137}, {"reason": "Evicted", "message": "low on memory"})
    world.settle()
    kind, _, message = next(e for e in events(world) if e[1] == Reason.STAGE_RETRIED)
    assert (kind, message.split(":")[:2]) == ("Warning", ["sft", " tried again"])
    world.fail("sft", {"exitCode": 137}, {"reason": "Evicted", "message": "low on memory"})
    world.settle()
    failed = [e for e in events(world) if e[1] == Reason.STAGE_FAILED]
    assert {kind for kind, _, _ in failed} == {"Warning"}
    assert any("InfrastructureError" in message for _, _, message in failed)
