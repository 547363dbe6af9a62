"""Resources, replicas and other settings of a run that change after its acceptance."""

import copy
from dataclasses import replace

import pytest

from fusionrun.api.status.conditions import Reason
from fusionrun.state.decide.run import decide
from support.mutable import CHANGES, in_spec
from support.runs import change, make_run
from support.world import World

OOM = {"reason": "OOMKilled", "exitCode": 137}


def gpus(count: int) -> dict:
    return {"limits": {"nvidia.com/gpu": count}}


def edit(world: World, path: str, value: object) -> None:
    change(world.run["spec"], in_spec(path, world.run["spec"]), value)
    world.run["metadata"]["generation"] += 1
    world.settle()


def resources(world: World, stage: str) -> dict:
    spec = world.workloads()[stage]["spec"]
    template = spec.get("template") or spec["pytorchReplicaSpecs"]["Master"]["template"]
    return template["spec"]["containers"][0]["resources"]


def test_more_memory_and_a_retry_continue_a_run_that_ran_out_of_memory():
    world = World(make_run())
    world.run_until("sft")
    done = [s.name for s in world.status.stages if s.state == "Succeeded"]
    for _ in range(2):  # it is retried once
        world.fail("sft", OOM)
        world.pass_time(seconds=10)
    assert "raise resources.limits.memory" in world.condition("Failed")[2]
    edit(world, "training.resources", {"limits": {"memory": "512Gi"}})
    assert world.condition("Failed")[0] == "True", "a changed spec alone retries nothing"
    world.run["metadata"]["annotations"] = {"fusionrun.dev/retry": "1"}
    world.settle()
    assert resources(world, "sft") == {"limits": {"memory": "512Gi"}}
    assert [s.name for s in world.status.stages if s.state == "Succeeded"] == done
    world.complete()


def test_a_stage_that_has_not_started_uses_the_changed_settings():
    world = World(make_run())
    world.settle()
    edit(world, "sources[].served.replicas", 3)
    edit(world, "generation.parallelism", 1)
    edit(world, "rewardModel.batchSize", 5)
    world.run_until("score/ada")
    assert world.task("score/ada").parameters.batch_size == 5
    assert {o["spec"]["parallelism"] for o in world.of_kind("Job") if "generate" in o["metadata"]["name"]} == {1}
    assert "Deployment:serve.ada" in world.created


def test_pods_that_score_count_for_the_budget_until_they_end_if_fewer_are_wanted_now():
    run = make_run()
    run["spec"]["rewardModel"] |= {"replicas": 2, "resources": gpus(1)}
    run["spec"]["generation"] |= {"shards": 2}
    run["spec"]["scheduling"] = {"gpuBudget": 2}
    world = World(run)
    world.run_until("score/ada")
    world.place("score/ada")
    world.settle()
    edit(world, "rewardModel.replicas", 1)
    assert world.stage("score/bob").reason == Reason.WAITING_FOR_GPUS


@pytest.mark.parametrize(
    ("stage", "path", "value"),
    [
        ("sft", "training.resources", {"limits": {"memory": "8Gi"}}),
        ("serve/ada", "sources[].served.resources", {"limits": {"memory": "8Gi"}}),
        ("score/ada", "rewardModel.resources", {"limits": {"memory": "8Gi"}}),
        ("prepare/prompts", "dataStages.resources", {"limits": {"memory": "8Gi"}}),
    ],
)
def test_a_stage_whose_pods_wait_for_a_node_starts_again_with_the_changed_settings(stage, path, value):
    """They may wait for a node that the cluster does not have."""
    world = World(make_run())
    world.run_until(stage)
    world.pass_time(minutes=5)
    name, others = world.workloads()[stage]["metadata"]["name"], list(world.created)
    edit(world, path, value)
    assert resources(world, stage) == value
    assert world.workloads()[stage]["metadata"]["name"] == name, "it is no failed attempt"
    again = {label.split(":")[1].split(".")[0] for label in world.created[len(others) :]}
    assert again == {stage.split("/")[0]}, "other stages go on"
    world.place(stage)
    world.settle()
    edit(world, path, {"limits": {"memory": "9Gi"}})
    assert resources(world, stage) == value, "a pod runs"
    world.complete()


def test_a_stage_starts_again_with_changed_settings_if_its_workload_could_not_be_deleted_at_first():
    world = World(make_run())
    world.run_until("sft")
    world.run["spec"]["training"]["resources"] = {"limits": {"memory": "8Gi"}}
    decision = decide(world.live(), world.settings, world.now)
    assert [ref.kind for ref in decision.delete] == ["PyTorchJob"]
    world.carry_out(replace(decision, delete=()))
    world.settle()
    assert resources(world, "sft") == {"limits": {"memory": "8Gi"}}


def test_a_waiting_stage_is_kept_if_the_change_is_not_for_its_pods_or_not_allowed():
    world = World(make_run(training={"nodes": 2, "resources": gpus(1)}))
    world.run_until("sft")
    made = list(world.created)
    edit(world, "scheduling", {"gpuBudget": 64, "maxServers": 2})
    edit(world, "evaluation.server.replicas", 2)
    edit(world, "generation.parallelism", 7)
    assert world.created == made
    edit(world, "training.resources", gpus(3))
    assert world.condition("Ready")[1] == Reason.NOT_ALLOWED
    assert (world.created, resources(world, "sft")["limits"]) == (made, gpus(1)["limits"])


def test_what_runs_keeps_its_settings():
    world = World(make_run())
    world.run_until("generate/ada")
    for stage in world.workloads():
        world.place(stage)
    world.settle()
    before = copy.deepcopy(world.workloads())
    for path, value in CHANGES.items():
        if not any(part in path for part in (".endpoint.", "arallelSize", "evaluateOnly")):
            edit(world, path, value)
    now = world.workloads()
    assert {name: now[name] for name in before} == before
    assert world.status.observed_generation == world.run["metadata"]["generation"]


def test_a_changed_value_that_breaks_a_rule_holds_the_stages_and_never_fails_the_run():
    world = World(make_run())
    world.run_until("verify/ada.coding")
    running = set(world.workloads())
    edit(world, "evaluation.server.resources", gpus(3))
    status, reason, message = world.condition("Ready")
    assert (status, reason) == ("False", Reason.NOT_ALLOWED)
    assert message.startswith(
        "spec.evaluation.server.resources.limits[nvidia.com/gpu]: 3: must be tensorParallelSize x"
    )
    assert set(world.workloads()) == running, "what runs continues"
    world.step()
    world.settle()
    assert not world.workloads()
    assert {s.reason for s in world.status.stages if s.state == "Waiting"} == {Reason.NOT_ALLOWED}
    assert world.condition("Finished")[0] == "False"
    edit(world, "evaluation.server.tensorParallelSize", 3)
    world.complete()


@pytest.mark.parametrize("value", [{"limits": {"nvidia.com/gpu": "1.5"}}, {"limits": {"nvidia.com/mig-1g.5gb": 1}}])
def test_a_rule_that_the_accepted_spec_breaks_already_is_not_repeated(value):
    """Another release accepted it. Only changed values are checked."""
    world = World(make_run())
    world.run_until("prepare/prompts")
    edit(world, "training.resources", value)
    assert world.condition("Ready")[1] == Reason.NOT_ALLOWED
    assert "spec.training.resources" in world.condition("Ready")[2]
    edit(world, "training.resources", None)
    world.complete()
