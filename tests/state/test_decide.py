"""Decisions in a simulated world: order, retries, failures, suspension, reuse of artifacts."""

from datetime import timedelta

import pytest

from fusionrun.api.results.result import Outcome, StageResult, encode_result
from fusionrun.api.status.conditions import Reason
from fusionrun.settings import Images, Settings
from fusionrun.state.decide.run import decide
from fusionrun.state.observe.object_fields import stage_of
from fusionrun.state.observe.object_ref import ref_of
from support.runs import called_reward, make_run, make_spec, rated, served_judge
from support.world import World, with_complete, world_after

GPUS = {"limits": {"nvidia.com/gpu": 4}}


@pytest.mark.parametrize("changes", [{}, {"rewardModel": called_reward()}], ids=["default", "reward endpoint"])
def test_a_run_completes(changes):
    world = world_after(**changes)
    world.complete()
    assert world.condition("Finished")[0] == "True"
    assert {s.state for s in world.status.stages} == {"Succeeded"}
    assert world.status.dataset.sft_rows == 7
    assert world.status.results[0].delta == 40.0
    assert len(world.status.model_dump_json(exclude_none=True)) < 16 * 1024


def test_only_resolve_starts_before_the_pins_are_known():
    assert set(world_after().workloads()) == {"resolve"}


def test_generation_starts_only_when_its_server_is_ready():
    world = world_after("resolve", "prepare/prompts")
    assert "serve/ada" in world.workloads()
    assert "generate/ada" not in world.workloads()
    assert world.stage("generate/ada").reason == Reason.WAITING_FOR_SERVER
    world.serve("ada")
    assert "generate/ada" in world.workloads()
    assert (world.stage("serve/ada").state, world.stage("serve/ada").reason) == ("Ready", Reason.SERVER_READY)


def test_a_server_is_deleted_as_soon_as_its_generation_is_complete():
    world = world_after("resolve", "prepare/prompts", "serve/ada", "generate/ada")
    assert "serve/ada" not in world.workloads()
    assert world.stage("serve/ada").state == "Succeeded"
    assert "serve/bob" in world.workloads()


DEADLINES = {
    "stageDeadlines": [{"kind": k, "activeDeadlineSeconds": 86400} for k in ("resolve", "serve", "generate", "sft")],
    "preRunningDeadlineSeconds": 3600,
    "activeDeadlineSeconds": 86400,
}


@pytest.mark.parametrize("fields", [{}, DEADLINES], ids=["plain", "deadlines"])
def test_a_repeated_decision_changes_nothing_at_any_step(fields):
    world = World(make_run(**fields))
    while True:
        world.settle()
        again = decide(world.live(), world.settings, world.now)
        assert (again.create, again.status, again.delete, again.events) == ((), None, (), ())
        if not world.step():
            break
    assert world.condition("Complete")[0] == "True"


def test_time_alone_does_not_change_the_status_within_a_quantum():
    world = world_after()
    assert decide(world.live(), world.settings, world.now + timedelta(seconds=3)).status is None


def test_a_user_error_fails_the_run_at_once_and_deletes_its_servers():
    world = world_after("resolve", "prepare/prompts", "serve/ada")
    result = StageResult(outcome=Outcome.FAILED, user_error=True, message="sources[ada]: no such directory")
    world.fail("generate/ada", {"exitCode": 2, "message": encode_result(result)})
    world.settle()
    status, reason, message = world.condition("Failed")
    assert (status, reason) == ("True", "StageFailed")
    assert "sources[ada]: no such directory" in message
    assert world.stage("generate/ada").reason == "UserError"
    assert world.condition("Finished")[0] == "True"
    assert not world.of_kind("Deployment", "Service")
    assert world.stage("serve/bob").state == "Pending"


def test_a_run_can_be_suspended_and_resumed():
    world = World(make_run())
    world.run_until("serve/ada")
    world.change_spec(suspend=True)
    assert not world.workloads()
    assert world.condition("Suspended")[:2] == ("True", "Suspended")
    world.change_spec(suspend=False)
    world.complete()


def test_complete_artifacts_are_not_made_again():
    lost = ("dpo", "promote", "generate/eval-final", "verify/eval-final.coding", "evaluate/final")
    world = World(make_run(name="again"), answer=with_complete(lambda stage: stage not in lost))
    world.complete()
    stages = {label.split(":")[1] for label in world.started}
    assert not {"generate.ada", "sft"} & stages
    assert {"dpo", "promote", "construct", "evaluate.base", "serve.eval-final"} <= stages
    assert world.stage("generate/ada").cache_hit


def test_an_artifact_of_an_earlier_run_is_a_cache_hit():
    world = World(make_run(), answer=with_complete(lambda _: True))
    world.complete()
    assert (world.stage("dpo").state, world.stage("dpo").reason) == ("Skipped", Reason.CACHE_HIT)
    assert world.stage("serve/ada").reason == Reason.NO_LONGER_NEEDED
    assert world.stage("evaluate/base").state == "Succeeded"
    assert world.status.results[0].delta == 40.0


def test_gpu_budget_is_never_exceeded():
    run = make_run(scheduling={"gpuBudget": 4})
    for source in run["spec"]["sources"]:
        source["served"] |= {"resources": GPUS, "tensorParallelSize": 4}
    run["spec"]["evaluation"]["server"] = {"resources": GPUS, "tensorParallelSize": 4}
    world = World(run)
    world.settle()
    most = 0
    while world.step():
        world.settle()
        pods = [pod["metadata"]["name"] for pod in world.of_kind("Pod")]
        for server in world.of_kind("Deployment"):
            if not any(name.startswith(server["metadata"]["name"]) for name in pods):
                world.place(stage_of(server))
        world.settle()
        most = max(most, world.status.gpus_in_use)
    assert most == 4
    assert world.condition("Complete")[0] == "True"


def test_a_served_judge_runs_only_while_it_judges():
    evaluation = {"benchmarks": [rated()], "judge": served_judge()}
    world = World(make_run(evaluation=evaluation))
    world.run_until("serve/judge-base")
    assert world.stage("generate/eval-base").state == "Succeeded"
    assert "judge/base" not in world.workloads()
    world.run_to_end()
    assert world.condition("Complete")[0] == "True"
    models = ("base", "sft", "final")
    assert {f"Deployment:serve.judge-{model}" for model in models} <= set(world.started)
    assert {world.stage(f"{kind}/{model}").state for kind in ("judge", "evaluate") for model in models} == {"Succeeded"}
    assert not [ref for ref in world.objects if ref.kind == "Deployment"]


@pytest.mark.parametrize(
    ("gate", "status", "reason"),
    [
        ({"minDelta": 99.0}, "False", Reason.EVALUATION_FAILED),
        ({"against": "Sft", "minDelta": 5.0}, "True", Reason.EVALUATION_PASSED),
        (None, "Unknown", Reason.NO_GATE),
    ],
    ids=["failed", "passed", "no gate"],
)
def test_a_failed_gate_is_a_condition_and_keeps_the_model_unpublished(gate, status, reason):
    gates = [{"benchmark": "math-test", **gate}] if gate else []
    evaluation = make_spec()["evaluation"] | {"gate": gates}
    world = world_after(publish={"uri": "pvc://fusion-data/out"}, evaluation=evaluation)
    world.complete()
    assert world.condition("EvaluationPassed")[:2] == (status, reason)
    assert ("Job:publish" in world.created) is (status != "False")
    assert world.stage("publish").reason == (Reason.GATE_FAILED if status == "False" else Reason.SUCCEEDED)
    for kind in ("Reconciling", "Stalled", "Failed", "Suspended"):
        assert world.condition(kind)[:2] == ("False", Reason.SUCCEEDED)


def test_budget_suspends_and_never_kills():
    training = {"nodes": 2, "processesPerNode": 8, "resources": {"limits": {"nvidia.com/gpu": 8}}}
    world = World(make_run(budget={"maxGpuHours": 0.001}, training=training))
    world.run_until("sft")
    world.place("sft")
    world.pass_time(minutes=5)
    assert world.condition("Suspended")[1] == "BudgetExceeded"
    world.change_spec(budget={"maxGpuHours": 100})
    world.complete()


def test_a_finished_run_observes_a_new_generation():
    world = world_after(training={"nodes": 3})
    world.run["metadata"]["generation"] = 7
    world.change_spec(suspend=True)
    assert world.status.observed_generation == 7
    assert {c.observed_generation for c in world.status.conditions} == {7}
    assert world.condition("Failed")[:2] == ("True", "InvalidSpec")


def test_images_are_frozen_at_acceptance():
    world = world_after()
    world.settings = Settings(Images(data="data:2", serve="s:2", train="t:2", reward="r:2", sandbox="x:2"))
    world.finish_in_turn("resolve")
    image = world.workloads()["prepare/prompts"]["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image == "data:1"


def test_an_object_that_stages_share_is_created_once():
    """The responses of both sources are verified in pods that share a NetworkPolicy."""
    world = world_after("resolve", "prepare/prompts", "serve/ada", "serve/bob")
    for client in ("generate/ada", "generate/bob"):
        world.finish(client)
    created = [ref_of(m) for m in world.reconcile().create]
    assert len([ref for ref in created if ref.kind == "Job" and "coding" in ref.name]) == 2
    assert len(created) == len(set(created))
