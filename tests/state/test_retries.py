"""When the next attempt of a failed stage starts, what counts against ``backoffLimit``, and on which nodes it runs."""

from datetime import timedelta
from typing import Any

import pytest

from fusionrun.api.pod import EXIT_SERVER_WEDGED
from fusionrun.api.results.result import Outcome, StageResult, encode_result
from fusionrun.api.status.conditions import Reason
from fusionrun.state.decide.run import decide
from fusionrun.state.observe.object_fields import format_time, parse_time
from fusionrun.state.observe.object_ref import ref_of
from support.runs import make_run, make_spec
from support.world import World, world_after

PREEMPTED = {"reason": "Preempted", "message": "spot node reclaimed"}


def training(**changes: Any) -> World:
    """Return a world in which sft runs."""
    world = World(make_run(**changes))
    world.run_until("sft")
    return world


def fail(world: World, exit_code: int = 130, pod: dict | None = None, step: int | None = None, node: str = "") -> None:
    """Let sft fail, in a pod with this status whose result names a checkpoint."""
    result = StageResult(outcome=Outcome.FAILED, message="no reply", checkpoint_step=step)
    name = world.workloads()["sft"]["metadata"]["name"]
    world.fail("sft", {"exitCode": exit_code, "message": encode_result(result)}, pod)
    if node:
        failed = next(o for r, o in world.objects.items() if r.kind == "Pod" and r.name == f"{name}-0")
        failed["spec"] = {"nodeName": node}
    world.settle()


def wait(world: World) -> float:
    """Let the time pass until the next attempt of sft starts; return the seconds."""
    before = world.now
    due = parse_time(world.stage("sft").retry_time)
    assert due is not None
    world.now = due - timedelta(seconds=1)
    world.settle()
    assert "sft" not in world.workloads(), "too early"
    assert decide(world.live(), world.settings, world.now).requeue_seconds == 1.0
    world.pass_time(seconds=1)
    assert "sft" in world.workloads()
    return (due - before).total_seconds()


def test_the_time_to_the_next_attempt_doubles_up_to_six_minutes_and_the_limit_ends_the_run():
    world = training(backoffLimit=7)
    waits = []
    for number in range(7):
        fail(world)
        stage = world.stage("sft")
        assert (stage.state, stage.reason, stage.failures) == ("Waiting", Reason.BACK_OFF, number + 1)
        assert stage.message.startswith(f"attempt {number + 1} failed: no reply; attempt {number + 2} starts at 2026-")
        waits.append(wait(world))
    assert waits == [10, 20, 40, 80, 160, 320, 360]
    fail(world)
    assert (world.stage("sft").state, world.stage("sft").reason) == ("Failed", Reason.INFRASTRUCTURE_ERROR)
    assert world.condition("Failed")[1] == Reason.STAGE_FAILED


def test_an_attempt_that_ran_for_long_is_repeated_soon():
    world = training(backoffLimit=20)
    for _ in range(4):
        fail(world)
        wait(world)
    world.place("sft")
    world.now += timedelta(hours=1)
    fail(world)
    assert wait(world) == 10


def test_preemptions_do_not_count_and_are_shown():
    """Spot nodes: a training of five days is preempted every 20 hours."""
    world = training(backoffLimit=0)
    for number in range(1, 7):
        world.now += timedelta(hours=20)
        fail(world, 143, PREEMPTED)
        assert (world.stage("sft").disruptions, world.stage("sft").failures) == (number, None)
        wait(world)
    fail(world)
    assert world.stage("sft").state == "Failed", "another failure counts"


def test_repeated_disruptions_wait_for_longer():
    world = training()
    waits = []
    for _ in range(7):
        fail(world, 143, PREEMPTED)
        waits.append(wait(world))
    assert waits == [10, 20, 40, 80, 160, 320, 360]


@pytest.mark.parametrize(
    ("steps", "failures"),
    [
        ([100, 200, 300, 400], [1, 1, 1, 1]),
        ([100, 100, 200, 200], [1, 2, 1, 2]),
        ([None, None, 100, None], [1, 2, 1, 2]),
        ([200, 100, 200], [1, 2, None]),
        ([None, None, None], [1, 2, None]),
    ],
    ids=["progress", "some progress", "first checkpoint", "an older checkpoint", "none, as from older images"],
)
def test_a_newer_checkpoint_resets_the_count(steps, failures):
    world = training(backoffLimit=2)
    for step, expected in zip(steps, failures, strict=True):
        fail(world, step=step)
        if expected is None:
            assert world.stage("sft").state == "Failed"
        else:
            assert world.stage("sft").failures == expected
            wait(world)


def test_a_deleted_failed_attempt_changes_neither_the_count_nor_the_time():
    world = training(backoffLimit=1)
    fail(world)
    before = world.stage("sft")
    for ref in [r for r in world.objects if r.kind in ("PyTorchJob", "Pod") and "-sft-" in r.name]:
        del world.objects[ref]
    world.settle()
    assert world.stage("sft") == before
    wait(world)
    assert (world.stage("sft").attempt, world.stage("sft").failures) == (1, 1)


def test_a_clock_that_is_set_back_does_not_prolong_the_wait():
    world = training()
    fail(world)
    world.now -= timedelta(days=3)
    world.settle()
    assert "sft" in world.workloads()


def test_a_suspension_counts_no_failure_again():
    world = training(backoffLimit=2)
    fail(world)
    wait(world)
    for _ in range(3):
        world.change_spec(suspend=True)
        assert "sft" not in world.workloads()
        world.change_spec(suspend=False)
        assert world.workloads()["sft"]["metadata"]["name"].endswith("-r1")
    assert (world.stage("sft").attempt, world.stage("sft").failures) == (1, 1)
    assert len([e for e in world.events if e.reason == Reason.STAGE_RETRIED]) == 1
    world.complete()


def test_a_run_that_an_older_release_retried_keeps_its_count():
    world = training(backoffLimit=2)
    for _ in range(2):
        fail(world)
        wait(world)
    for stage in world.run["status"]["stages"]:
        for name in ("failures", "avoidedNodes"):
            stage.pop(name, None)
    fail(world)
    assert world.stage("sft").state == "Failed"


def test_a_container_that_was_oomkilled_is_tried_once_more():
    world = training()
    world.fail("sft", {"exitCode": 137, "reason": "OOMKilled"})
    world.settle()
    wait(world)
    world.fail("sft", {"exitCode": 137, "reason": "OOMKilled"})
    world.settle()
    assert (world.stage("sft").state, world.stage("sft").reason) == ("Failed", Reason.OUT_OF_MEMORY)
    assert "raise resources.limits.memory" in world.condition("Failed")[2]


REJECTED = {
    "phase": "Failed",
    "reason": "UnexpectedAdmissionError",
    "message": "Pod was rejected: Allocate failed due to no healthy devices present",
}


def test_a_job_whose_pods_the_kubelet_rejects_starts_again_elsewhere():
    """The kubelet restarts its device plugin: it starts no container, and the Job counts its pods."""
    world = world_after("resolve", "prepare/prompts", "prepare/benchmarks", backoffLimit=0)
    world.run_until("score/ada")
    job = world.workloads()["score/ada"]
    for number in range(4):
        name = f"{job['metadata']['name']}-{number}"
        world.add_pod(job, name, REJECTED, {}, 0)
        pod = next(o for r, o in world.objects.items() if r.name == name)
        del pod["status"]["containerStatuses"]
        pod["spec"] = {"nodeName": "broken"}
    job["status"] = {"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]}
    world.settle()
    stage = world.stage("score/ada")
    assert (stage.reason, stage.failures, stage.disruptions) == (Reason.BACK_OFF, None, 1)
    assert "UnexpectedAdmissionError: Pod was rejected: Allocate failed" in stage.message
    world.pass_time(seconds=60)
    job = world.workloads()["score/ada"]
    assert job["metadata"]["name"].endswith("-r1")
    assert avoided(job) == [["broken"]]
    world.complete()


def test_a_client_of_a_server_starts_again_with_the_same_server():
    world = world_after("resolve", "prepare/prompts", "serve/ada")
    before = world.workloads()
    world.fail("generate/ada", {"exitCode": 137}, {"reason": "NodeShutdown", "message": "Pod was terminated"})
    world.settle()
    assert world.stage("generate/ada").reason == Reason.BACK_OFF
    world.pass_time(seconds=10)
    assert world.workloads()["generate/ada"]["metadata"]["name"] == before["generate/ada"]["metadata"]["name"]
    assert world.workloads()["serve/ada"] == before["serve/ada"]
    assert world.stage("generate/ada").disruptions == 1
    world.complete()


def oomkilled(index: int) -> tuple[dict, dict, int]:
    return {"phase": "Failed"}, {"exitCode": 137, "reason": "OOMKilled"}, index


def evicted(index: int, message: str) -> tuple[dict, dict, int]:
    return {"phase": "Failed", "reason": "Evicted", "message": message}, {"exitCode": 137}, index


LOW = "The node was low on resource: memory. "
USES = LOW + "Container score was using 9Gi, request is 1Gi, has larger consumption of memory. "
FULL = 'Usage of EmptyDir volume "tmp" exceeds the limit "20Gi". '


@pytest.mark.parametrize(
    ("pods", "reason", "text"),
    [
        ([oomkilled(0), oomkilled(1)], None, ""),
        ([oomkilled(1), oomkilled(1)], Reason.OUT_OF_MEMORY, "resources.limits.memory"),
        ([evicted(0, LOW)] * 9, None, ""),
        ([evicted(i % 2, USES) for i in range(6)], None, ""),
        ([evicted(0, USES)] * 4, Reason.INFRASTRUCTURE_ERROR, "4 pods were evicted, the last one with this message"),
        ([evicted(1, FULL)] * 4, Reason.INFRASTRUCTURE_ERROR, "exceeds the limit"),
    ],
    ids=["two shards once", "a shard twice", "node pressure", "three per shard", "own memory", "own disk"],
)
def test_a_job_ends_early_only_if_a_retry_cannot_help(pods, reason, text):
    world = world_after("resolve", "prepare/prompts", "serve/ada")
    job = world.workloads()["generate/ada"]
    for number, pod in enumerate(pods):
        world.add_pod(job, f"{job['metadata']['name']}-{number}", *pod)
    world.settle()
    if reason is None:
        assert world.stage("generate/ada").state == "Running"
    else:
        assert (world.stage("generate/ada").state, world.stage("generate/ada").reason) == ("Failed", reason)
        assert text in world.condition("Failed")[2]


def test_pods_of_a_job_that_were_disrupted_are_shown():
    world = world_after("resolve", "prepare/prompts", "serve/ada")
    job = world.workloads()["generate/ada"]
    for number in range(2):
        world.add_pod(job, f"{job['metadata']['name']}-{number}", *evicted(number, LOW))
    job["status"] = {"failedIndexes": "1"}
    world.settle()
    assert world.stage("generate/ada").disruptions == 2
    assert world.stage("generate/ada").message.startswith("shards 1 failed for good")


def ended_with(world: World, reason: str, indexes: str, *failures: tuple[int, str]) -> None:
    """Let the Job of generate/ada fail after pods of these shards have failed with these messages."""
    job = world.workloads()["generate/ada"]
    for number, (index, message) in enumerate(failures):
        user = reason == "PodFailurePolicy" and number == len(failures) - 1
        result = encode_result(StageResult(outcome=Outcome.FAILED, message=message, user_error=user))
        ended = {"exitCode": 130, "message": result, "finishedAt": format_time(world.now + timedelta(seconds=number))}
        world.add_pod(job, f"{job['metadata']['name']}-{number}", {"phase": "Failed"}, ended, index)
    failed = {"type": "Failed", "status": "True", "reason": reason, "lastTransitionTime": format_time(world.now)}
    job["status"] = {"conditions": [failed], "failedIndexes": indexes}
    world.settle()


@pytest.mark.parametrize(
    ("reason", "indexes", "message"),
    [
        ("FailedIndexes", "1", "disk full"),
        ("MaxFailedIndexesExceeded", "1,4-6", "disk full"),
        ("PodFailurePolicy", "0", "no such column"),
    ],
)
def test_the_failure_of_the_shard_that_ended_the_job_is_reported(reason, indexes, message):
    """Shard 0 failed first, and its retry succeeded."""
    world = world_after("resolve", "prepare/prompts", "serve/ada")
    ended_with(world, reason, indexes, (0, "reset by peer"), (1, "disk full"), (7, "no such column"))
    assert world.stage("generate/ada").message == message


# Nodes ----------------------------------------------------------------------------------------------------------------


def avoided(workload: dict[str, Any]) -> list[list[str]]:
    """Return the nodes that each pod template of a workload avoids."""
    replicas = workload["spec"].get("pytorchReplicaSpecs") or {"": workload["spec"]}
    found = []
    for replica in replicas.values():
        node_affinity = replica["template"]["spec"].get("affinity", {}).get("nodeAffinity", {})
        terms = node_affinity.get("preferredDuringSchedulingIgnoredDuringExecution", [])
        found.append([v for t in terms for f in t["preference"]["matchFields"] for v in f["values"]])
    return found


def test_an_attempt_avoids_the_last_three_nodes_on_which_one_failed():
    world = training(backoffLimit=20)
    for node in ("a", "b", "a", "c", "d"):
        fail(world, node=node)
        wait(world)
    assert world.stage("sft").avoided_nodes == ["a", "c", "d"]
    assert avoided(world.workloads()["sft"]) == [["a", "c", "d"]] * 2
    world.complete()


@pytest.mark.parametrize(
    ("nodes", "limit", "again"), [("aaa", 3, True), ("aba", 3, False), ("aaa", 0, False), (["", ""], 3, False)]
)
def test_a_job_whose_pods_all_failed_on_one_node_is_tried_once_on_another(nodes, limit, again):
    world = world_after("resolve", "prepare/prompts", "prepare/benchmarks", backoffLimit=limit)
    world.run_until("score/ada")
    for attempt in range(2):
        job = world.workloads()["score/ada"]
        for number, node in enumerate(nodes):
            name = f"{job['metadata']['name']}-{number}"
            world.add_pod(job, name, {"phase": "Failed"}, {"exitCode": 130, "message": "CUDA error: ECC"}, 0)
            pod = next(o for r, o in world.objects.items() if r.name == name)
            pod["spec"] = {"nodeName": node} if node else {}
        job["status"] = {"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]}
        world.settle()
        if not again or attempt:
            assert (world.stage("score/ada").state, world.stage("score/ada").reason) == (
                "Failed",
                Reason.INFRASTRUCTURE_ERROR,
            )
            return
        assert world.stage("score/ada").reason == Reason.BACK_OFF
        world.pass_time(seconds=10)
        assert avoided(world.workloads()["score/ada"]) == [["a"]]


# Servers --------------------------------------------------------------------------------------------------------------


def crash(world: World, node: str) -> None:
    """Let the server of ada crash in place until it counts as failed."""
    server = world.workloads()["serve/ada"]
    server["status"] = {"replicas": 1}
    pod = world.place("serve/ada")
    pod["spec"]["nodeName"] = node
    pod["status"]["conditions"] = [{"type": "Ready", "status": "False", "lastTransitionTime": format_time(world.now)}]
    ended = {
        "exitCode": 1,
        "startedAt": format_time(world.now + timedelta(seconds=60)),
        "finishedAt": format_time(world.now + timedelta(seconds=180)),
        "message": "CUDA error: uncorrectable ECC error encountered",
    }
    pod["status"]["containerStatuses"] = [{"name": "vllm", "restartCount": 3, "lastState": {"terminated": ended}}]
    world.pass_time(minutes=5)


def test_a_server_that_fails_on_one_node_is_replaced_on_another():
    world = world_after("resolve", "prepare/prompts", "prepare/benchmarks")
    crash(world, "node-ecc")
    stage = world.stage("serve/ada")
    assert (stage.state, stage.reason, stage.failures) == ("Waiting", Reason.BACK_OFF, 1)
    assert "crashed 3 times" in stage.message
    assert stage.log_tail == "CUDA error: uncorrectable ECC error encountered"
    assert "serve/ada" not in world.workloads(), "its GPUs are free while it waits"
    before = world.stage("serve/ada")
    world.pass_time(seconds=5)
    assert world.stage("serve/ada") == before
    world.pass_time(seconds=5)
    server = world.workloads()["serve/ada"]
    assert server["metadata"]["name"].endswith("-r1")
    assert avoided(server) == [["node-ecc"]]
    world.serve("ada")
    assert world.task("generate/ada").parameters.base_url.startswith(f"http://{server['metadata']['name']}.")
    world.complete()


def test_a_client_follows_its_server_to_another_address():
    world = world_after("resolve", "prepare/prompts", "prepare/benchmarks", "serve/ada")
    assert "generate/ada" in world.workloads()
    crash(world, "node-ecc")
    world.pass_time(seconds=10)
    assert world.workloads()["serve/ada"]["metadata"]["name"].endswith("-r1")
    assert "generate/ada" not in world.workloads()
    assert world.stage("generate/ada").reason == Reason.WAITING_FOR_SERVER
    world.serve("ada")
    assert world.workloads()["generate/ada"]["metadata"]["name"].endswith("-r1")
    world.complete()


def test_backoff_limit_limits_the_nodes_that_a_server_is_tried_on():
    world = world_after("resolve", "prepare/prompts", backoffLimit=2)
    for number in range(3):
        assert world.condition("Finished")[0] == "False"
        crash(world, f"node-{number}")
        world.pass_time(minutes=6)
    assert (world.stage("serve/ada").state, world.stage("serve/ada").reason) == ("Failed", Reason.SERVER_NOT_READY)
    assert world.created.count("Deployment:serve.ada") == 3


def test_a_server_that_replaces_a_stalled_one_avoids_its_node():
    world = world_after("resolve", "prepare/prompts", "serve/ada")
    world.place("serve/ada")["status"]["conditions"] = [
        {"type": "Ready", "status": "True", "lastTransitionTime": format_time(world.now - timedelta(hours=1))}
    ]
    stalled = StageResult(outcome=Outcome.FAILED, server_wedged=True, message="no token")
    world.fail("generate/ada", {"exitCode": EXIT_SERVER_WEDGED, "message": encode_result(stalled)})
    world.settle()
    assert avoided(world.workloads()["serve/ada"]) == [["node-1"]]
    world.change_spec(suspend=True)
    world.change_spec(suspend=False)
    world.serve("ada")
    assert world.stage("generate/ada").failures in (1, None)
    world.complete()


def test_a_client_waits_for_a_server_that_fails_after_it_was_replaced():
    world = world_after("resolve", "prepare/prompts", "prepare/benchmarks", "serve/ada")
    stalled = StageResult(outcome=Outcome.FAILED, server_wedged=True, message="no token")
    world.fail("generate/ada", {"exitCode": EXIT_SERVER_WEDGED, "message": encode_result(stalled)})
    world.settle()
    crash(world, "node-ecc")
    world.pass_time(minutes=1)
    world.serve("ada")
    for stage in ("serve/ada", "generate/ada"):
        assert world.workloads()[stage]["metadata"]["name"].endswith("-r2")
    world.complete()


def test_a_server_with_one_ready_replica_is_used():
    sources = make_spec()["sources"]
    sources[0]["served"]["replicas"] = 2
    world = world_after("resolve", "prepare/prompts", "serve/ada", sources=sources)
    assert (world.stage("serve/ada").state, world.stage("serve/ada").message) == ("Ready", "1 of 2 replicas are Ready")
    assert "generate/ada" in world.workloads()
    world.workloads()["serve/ada"]["status"] = {"readyReplicas": 2}
    world.settle()
    assert world.stage("serve/ada").message is None


def test_a_repeated_decision_changes_nothing_while_a_stage_waits():
    world = training()
    fail(world, node="a")
    again = decide(world.live(), world.settings, world.now)
    assert (again.create, again.status, again.delete, again.events) == ((), None, (), ())
    assert ref_of(world.of_kind("PyTorchJob")[0]).name.startswith("tiny-sft")
