"""The causes of each reason."""

import pytest

from fusionrun.api.status import Reason
from support.runs import called_reward, make_run
from support.world import World, succeeded, with_complete

SECRET = {"name": "key", "key": "token"}
STAGES = ("resolve", "prepare/prompts")


def world_at(*finished: str, run=None) -> World:
    """Return a world in which some stages have finished."""
    world = World(run or make_run())
    world.finish_in_turn(*finished)
    return world


def events(world: World) -> list[tuple[str, str, str]]:
    return [(e.type, e.reason, e.message) for e in world.events]


def test_a_running_run_is_reconciling():
    world = world_at()
    assert world.condition("Ready") == ("False", Reason.STAGES_RUNNING, "running: resolve")
    assert world.condition("Reconciling")[:2] == ("True", "StagesRunning")
    assert world.condition("Stalled")[0] == "False"


def test_a_complete_run_is_not_reconciling_and_has_no_gate():
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


FAR = {"name": "far", "type": "Endpoint", "endpoint": {"url": "http://far", "model": "m", "apiKeySecretRef": SECRET}}
S3 = {"name": "key"}
TOKEN, KEYS = "key 'token'", "keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"


@pytest.mark.parametrize(
    ("changes", "field", "keys"),
    [
        ({"hub": {"tokenSecretRef": SECRET}}, "hub.tokenSecretRef", TOKEN),
        ({"sources": [FAR]}, "sources[far].endpoint.apiKeySecretRef", TOKEN),
        ({"rewardModel": called_reward(apiKeySecretRef=SECRET)}, "rewardModel.endpoint.apiKeySecretRef", TOKEN),
        ({"publish": {"uri": "hf://me/mine", "tokenSecretRef": SECRET}}, "publish.tokenSecretRef", TOKEN),
        ({"s3": {"secretRef": S3}}, "s3.secretRef", KEYS),
        ({"publish": {"uri": "s3://b/x", "s3SecretRef": S3}}, "publish.s3SecretRef", KEYS),
    ],
    ids=["hub", "endpoint", "reward", "publish", "s3", "publish-s3"],
)
def test_a_missing_secret_is_waited_for(changes, field, keys):
    world = World(make_run(**changes), absent={"key"})
    world.settle()
    _, reason, message = world.condition("Ready")
    assert reason == Reason.SECRET_MISSING
    assert message.startswith(f"spec.{field}: 'key'")
    assert f"with {keys}" in message


@pytest.mark.parametrize(
    ("scheduling", "absent", "reason", "text"),
    [
        ({}, "fusion-data", Reason.CLAIM_MISSING, "spec.storage.claimName: 'fusion-data': no such "),
        ({}, "pytorchjobs.kubeflow.org", Reason.TRAINING_OPERATOR_MISSING, "spec.training.backend: 'PyTorchJob': "),
        ({"sandboxRuntimeClassName": "isolated"}, "isolated", Reason.RUNTIME_CLASS_MISSING,
         "spec.scheduling.sandboxRuntimeClassName: 'isolated': no such "),
        ({"priorityClassName": "high"}, "high", Reason.PRIORITY_CLASS_MISSING,
         "spec.scheduling.priorityClassName: 'high': no such "),
        ({"queueName": "research"}, "research", Reason.LOCAL_QUEUE_MISSING,
         "spec.scheduling.queueName: 'research': no such "),
    ],
)  # fmt: skip
def test_a_missing_prerequisite_is_waited_for_and_named(scheduling, absent, reason, text):
    world = World(make_run(scheduling=scheduling), absent={absent})
    decision = world.reconcile()
    status, said, message = world.condition("Ready")
    assert (status, said) == ("False", reason)
    assert message.startswith(text)
    assert decision.requeue_seconds == world.settings.missing_seconds
    assert not world.objects
    world.absent.clear()
    world.run_to_end()
    assert world.condition("Complete")[0] == "True"


def test_missing_kueue_is_reported_instead_of_its_queue():
    world = World(make_run(scheduling={"queueName": "research"}), absent={"research", "kueue.x-k8s.io"})
    world.settle()
    _, reason, message = world.condition("Ready")
    assert reason == Reason.KUEUE_MISSING
    assert "the cluster does not serve the API group kueue.x-k8s.io: install Kueue" in message
    assert not world.objects
    world.absent = {"research"}
    world.settle()
    assert world.condition("Ready")[1] == Reason.LOCAL_QUEUE_MISSING
    world.absent.clear()
    world.run_to_end()
    assert world.condition("Complete")[0] == "True"


def test_a_pending_stage_has_the_message_of_kubernetes():
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


def test_a_client_waits_until_its_server_is_ready():
    world = world_at(*STAGES)
    assert world.stage("generate/ada").reason == Reason.WAITING_FOR_SERVER
    world.serve("ada")
    assert (world.stage("serve/ada").state, world.stage("serve/ada").reason) == ("Ready", Reason.SERVER_READY)


def test_an_artifact_of_an_earlier_run_is_a_cache_hit():
    def all_complete(kind, task):
        result = succeeded(kind, task)
        if kind != "resolve":
            return result
        return with_complete(result, range(len(task.parameters.stages)))

    world = World(make_run(), answer=all_complete)
    world.run_to_end()
    assert (world.stage("dpo").state, world.stage("dpo").reason) == ("Skipped", Reason.CACHE_HIT)
    assert world.stage("serve/ada").reason == Reason.NO_LONGER_NEEDED
    assert world.stage("evaluate/base").state == "Succeeded"
    assert world.condition("Complete")[0] == "True"
    assert world.status.results[0].delta == 40.0


def test_a_stage_posts_events():
    world = world_at("resolve")
    posted = events(world)
    assert ("Normal", Reason.STAGE_SUCCEEDED, "resolve") in posted
    started = [m for _, reason, m in posted if reason == Reason.STAGE_STARTED]
    assert started[0].startswith("resolve: Job/tiny-resolve-")
    assert any(m.startswith("prepare/prompts: Job/") for m in started)
    assert posted[0][1] != Reason.STAGE_FAILED


def test_a_retry_and_a_failure_are_warnings():
    world = World(make_run(backoffLimit=1))
    world.run_until("sft")
    world.fail("sft", {"exitCode": 137}, {"reason": "Evicted", "message": "low on memory"})
    world.settle()
    kind, _, message = next(e for e in events(world) if e[1] == Reason.STAGE_RETRIED)
    assert (kind, message.split(":")[:2]) == ("Warning", ["sft", " retried"])
    world.fail("sft", {"exitCode": 137}, {"reason": "Evicted", "message": "low on memory"})
    world.settle()
    failed = [e for e in events(world) if e[1] == Reason.STAGE_FAILED]
    assert {kind for kind, _, _ in failed} == {"Warning"}
    assert any("InfrastructureError" in message for _, _, message in failed)
