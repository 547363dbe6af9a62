"""Decisions in a simulated world: order, retries, failures, suspension, reuse of artifacts."""

from datetime import timedelta

import pytest

from fusionrun.api.result import Outcome, StageResult, encode_result
from fusionrun.settings import Images, Settings
from fusionrun.state.decide.run import decide
from fusionrun.state.observe.object_ref import ref_of
from support.runs import called_reward, make_run
from support.world import World, succeeded, with_complete


def ended(world: World) -> list[str]:
    return [s.name for s in world.status.stages if s.state in ("Succeeded", "Skipped")]


@pytest.fixture(scope="module")
def finished():
    """A complete run, for tests that do not change it."""
    world = World(make_run())
    world.run_to_end()
    return world


def test_a_run_reaches_complete_with_every_stage_done(finished):
    assert finished.condition("Complete")[0] == "True"
    assert finished.condition("Finished")[0] == "True"
    assert set(ended(finished)) == {s.name for s in finished.status.stages}
    assert finished.status.dataset.sft_rows == 7
    assert finished.status.results[0].delta == 40.0


def test_a_run_with_an_external_reward_model_completes():
    world = World(make_run(rewardModel=called_reward()))
    world.run_to_end()
    assert world.condition("Complete")[0] == "True"


def test_no_server_object_is_left_at_the_end(finished):
    assert not [o for o in finished.objects.values() if o["kind"] in ("Deployment", "Service")]


def test_only_resolve_starts_before_the_pins_are_known():
    world = World(make_run())
    world.settle()
    assert set(world.workloads()) == {"resolve"}


def test_generation_starts_only_when_its_server_is_ready():
    world = World(make_run())
    world.finish_in_turn("resolve")
    world.finish("prepare/prompts")
    world.settle()
    assert "serve/ada" in world.workloads()
    assert "generate/ada" not in world.workloads()
    world.serve("ada")
    assert "generate/ada" in world.workloads()


def test_a_server_is_deleted_as_soon_as_its_generation_is_complete():
    world = World(make_run())
    world.finish_in_turn("resolve", "prepare/prompts")
    world.serve("ada")
    world.finish("generate/ada")
    world.settle()
    assert "serve/ada" not in world.workloads()
    assert world.stage("serve/ada").state == "Succeeded"
    assert "serve/bob" in world.workloads()


def test_a_repeated_decision_changes_nothing_at_any_step():
    world = World(make_run())
    while True:
        world.settle()
        again = decide(world.live(), world.settings, world.now)
        assert (again.create, again.status, again.delete, again.events) == ((), None, (), ())
        if not world.step():
            break


def test_time_alone_does_not_change_the_status_within_a_quantum():
    world = World(make_run())
    world.settle()
    later = decide(world.live(), world.settings, world.now + timedelta(seconds=3))
    assert later.status is None


def test_every_object_is_created_once(finished):
    jobs = [c for c in finished.created if c.startswith(("Job", "PyTorchJob", "Deployment"))]
    assert len(jobs) == len(set(jobs))


def test_a_user_error_fails_the_run_at_once_with_its_message():
    world = World(make_run())
    world.settle()
    words = StageResult(outcome=Outcome.FAILED, user_error=True, message="sources[ada]: no such directory")
    world.fail("resolve", {"exitCode": 2, "message": encode_result(words)})
    world.settle()
    status, reason, message = world.condition("Failed")
    assert (status, reason) == ("True", "StageFailed")
    assert "sources[ada]: no such directory" in message
    assert world.stage("resolve").reason == "UserError"
    assert world.condition("Finished")[0] == "True"


def test_a_failed_run_holds_no_server():
    world = World(make_run())
    world.finish_in_turn("resolve", "prepare/prompts")
    world.serve("ada")
    world.fail("generate/ada", {"exitCode": 2})
    world.settle()
    assert not [o for o in world.objects.values() if o["kind"] in ("Deployment", "Service")]
    assert world.stage("serve/bob").state == "Pending"


def test_a_training_job_is_recreated_after_an_infrastructure_error():
    world = World(make_run())
    world.run_until("sft")
    world.fail("sft", {"exitCode": 137}, {"reason": "Evicted", "message": "node was low on memory"})
    world.settle()
    assert world.stage("sft").attempt == 1
    assert world.workloads()["sft"]["metadata"]["name"].endswith("-r1")
    world.run_to_end()
    assert world.condition("Complete")[0] == "True"


def test_a_training_job_fails_after_backoff_limit():
    world = World(make_run(backoffLimit=1))
    world.run_until("sft")
    for _ in range(2):
        world.fail("sft", {"exitCode": 137})
        world.now += timedelta(seconds=11)
        world.settle()
    assert world.condition("Failed")[1] == "StageFailed"
    assert world.stage("sft").reason == "InfrastructureError"


def test_out_of_memory_ends_a_job_before_its_retries():
    world = World(make_run())
    world.settle()
    job = world.workloads()["resolve"]
    terminated = {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-01-02T03:04:09Z"}
    world.add_pod(job, f"{job['metadata']['name']}-0", {"phase": "Failed"}, terminated, 0)
    world.settle()
    assert world.stage("resolve").reason == "OutOfMemory"
    assert "resources.limits.memory" in world.condition("Failed")[2]
    assert not world.workloads()


def test_a_job_ends_after_too_many_evictions_which_it_does_not_count_itself():
    world = World(make_run(backoffLimit=2))
    world.settle()
    job = world.workloads()["resolve"]
    evicted = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}
    for number in range(3):
        assert world.stage("resolve").state == "Running"
        world.add_pod(job, f"{job['metadata']['name']}-{number}", evicted, {"exitCode": 137}, 0)
        world.settle()
    assert world.stage("resolve").reason == "InfrastructureError"
    assert "3 pods were evicted" in world.condition("Failed")[2]
    assert "low on resource: memory" in world.condition("Failed")[2]
    assert not world.workloads()


def test_a_run_can_be_suspended_and_resumed():
    world = World(make_run())
    world.run_until("serve/ada")
    world.run["spec"]["suspend"] = True
    world.settle()
    assert not world.workloads()
    assert world.condition("Suspended")[:2] == ("True", "Suspended")
    world.run["spec"]["suspend"] = False
    world.run_to_end()
    assert world.condition("Complete")[0] == "True"


def test_complete_artifacts_are_not_made_again():
    def everything_but_dpo(kind, task):
        result = succeeded(kind, task)
        if kind != "resolve":
            return result
        names = [s.name for s in task.parameters.stages]
        kept = [
            i for i, n in enumerate(names) if n not in ("dpo", "promote") and not n.endswith(("eval-final", "final"))
        ]
        return with_complete(result, [i for i in kept if "eval-final" not in names[i]])

    world = World(make_run(name="again"), answer=everything_but_dpo)
    world.run_to_end()
    stages = {c.split(":")[1] for c in world.created if c.startswith(("Job", "PyTorchJob", "Deployment"))}
    assert "generate.ada" not in stages
    assert "sft" not in stages
    assert {"dpo", "promote", "construct", "evaluate.base", "serve.eval-final"} <= stages
    assert world.stage("generate/ada").cache_hit
    assert world.condition("Complete")[0] == "True"


def pods(world):
    return [ref for ref in world.objects if ref.kind == "Pod"]


def test_gpu_budget_is_never_exceeded():
    gpu = {"limits": {"nvidia.com/gpu": 4}}
    run = make_run(scheduling={"gpuBudget": 4})
    for source in run["spec"]["sources"]:
        source["served"] |= {"resources": gpu, "tensorParallelSize": 4}
    run["spec"]["evaluation"]["server"] = {"resources": gpu, "tensorParallelSize": 4}
    world = World(run)
    world.settle()
    most = 0
    while world.step():
        world.settle()
        for stage, server in world.workloads().items():
            if stage.startswith("serve/") and not any(
                r.name.startswith(server["metadata"]["name"] + "-") for r in pods(world)
            ):
                world.place(stage)
        world.settle()
        most = max(most, world.status.gpus_in_use)
    assert most == 4
    assert world.condition("Complete")[0] == "True"


def test_a_failed_gate_is_a_condition_and_keeps_the_model_unpublished():
    run = make_run(publish={"uri": "pvc://fusion-data/out"})
    run["spec"]["evaluation"]["gate"] = [{"benchmark": "math-test", "minDelta": 99.0}]
    world = World(run)
    world.run_to_end()
    assert world.condition("Complete")[0] == "True"
    assert world.condition("EvaluationPassed")[:2] == ("False", "EvaluationFailed")
    assert world.stage("publish").reason == "GateFailed"
    assert "Job:publish" not in world.created


def test_budget_suspends_and_never_kills():
    run = make_run(budget={"maxGpuHours": 0.001})
    run["spec"]["training"] |= {"processesPerNode": 8, "resources": {"limits": {"nvidia.com/gpu": 8}}}
    world = World(run)
    world.run_until("sft")
    world.place("sft")
    world.now += timedelta(minutes=5)
    world.settle()
    assert world.condition("Suspended")[1] == "BudgetExceeded"
    world.run["spec"]["budget"] = {"maxGpuHours": 100}
    world.run_to_end()
    assert world.condition("Complete")[0] == "True"


def test_the_deadline_fails_the_run():
    world = World(make_run(activeDeadlineSeconds=60))
    world.settle()
    world.now += timedelta(seconds=61)
    world.settle()
    assert world.condition("Failed")[1] == "DeadlineExceeded"
    assert not world.workloads()


def test_time_in_suspension_does_not_count_for_the_deadline():
    world = World(make_run(activeDeadlineSeconds=60, suspend=True))
    world.settle()
    world.now += timedelta(hours=9)
    world.settle()
    assert world.condition("Suspended")[:2] == ("True", "Suspended")
    world.run["spec"]["suspend"] = False
    world.settle()
    world.now += timedelta(seconds=59)
    world.settle()
    assert world.condition("Finished")[0] == "False"
    world.now += timedelta(seconds=2)
    world.settle()
    assert world.condition("Failed")[1] == "DeadlineExceeded"


def test_a_finished_run_observes_a_new_generation():
    world = World(make_run(training={"nodes": 3}))
    world.settle()
    world.run["metadata"]["generation"] = 7
    world.run["spec"]["suspend"] = True
    world.settle()
    assert world.status.observed_generation == 7
    assert {c.observed_generation for c in world.status.conditions} == {7}
    assert world.condition("Failed")[:2] == ("True", "InvalidSpec")


def test_images_are_frozen_at_acceptance():
    world = World(make_run())
    world.settle()
    world.settings = Settings(Images(data="data:2", serve="s:2", train="t:2", reward="r:2", sandbox="x:2"))
    world.finish("resolve")
    world.settle()
    image = world.workloads()["prepare/prompts"]["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image == "data:1"


def test_an_invalid_spec_ends_the_run_with_field_value_and_rule():
    run = make_run()
    run["spec"]["training"]["sft"] = {"globalBatchSize": 7, "microBatchSize": 2}
    world = World(run)
    world.settle()
    status, reason, message = world.condition("Failed")
    assert (status, reason) == ("True", "InvalidSpec")
    assert "spec.training.sft.globalBatchSize: 7: must be a multiple" in message


def test_status_stays_under_16_kib(finished):
    assert len(finished.status.model_dump_json(exclude_none=True)) < 16 * 1024


def test_a_rank_that_lost_a_peer_is_not_the_cause():
    world = World(make_run())
    world.run_until("sft")
    job = world.workloads()["sft"]
    name = job["metadata"]["name"]
    for index, words in enumerate(("lost a peer: Connection closed", "training.sft.microBatchSize: 64: too large")):
        result = StageResult(outcome=Outcome.FAILED, user_error=bool(index), message=words)
        terminated = {"exitCode": 2, "finishedAt": "2026-01-02T03:05:00Z", "message": encode_result(result)}
        world.add_pod(job, f"{name}-{index}", {"phase": "Failed"}, terminated, index)
    job["status"] = {"conditions": [{"type": "Failed", "status": "True", "lastTransitionTime": "2026-01-02T03:05:01Z"}]}
    world.settle()
    assert world.stage("sft").reason == "UserError"
    assert "microBatchSize" in world.condition("Failed")[2]


def test_an_object_that_stages_share_is_created_once():
    """The responses of both sources are verified in pods that share a NetworkPolicy."""
    world = World(make_run())
    world.finish_in_turn("resolve", "prepare/prompts")
    for server in ("serve/ada", "serve/bob"):
        world.make_ready(server)
    world.settle()
    for client in ("generate/ada", "generate/bob"):
        world.finish(client)
    created = [ref_of(m) for m in world.reconcile().create]
    assert len([ref for ref in created if ref.kind == "Job" and "coding" in ref.name]) == 2
    assert len(created) == len(set(created))
