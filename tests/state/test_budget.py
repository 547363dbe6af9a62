"""A budget that is used up stops the stages that cost something; the others continue, and the run with them."""

from dataclasses import replace
from datetime import timedelta

import pytest

from fusionrun.settings import Accelerators, Price
from fusionrun.state.observe.object_ref import ref_of
from support.runs import external_source, make_run, make_spec
from support.world import SETTINGS, World

GPUS = 8
TRAINING = {"nodes": 1, "processesPerNode": GPUS, "resources": {"limits": {"nvidia.com/gpu": GPUS}}}
PRICED = replace(
    SETTINGS,
    accelerators=Accelerators(
        prices=(
            Price("nvidia.com/gpu", 9.0, {"gpu": "h2*"}),
            Price("nvidia.com/gpu", 3.0),
        ),
        currency="EUR",
    ),
)


def generating(**changes) -> World:
    """Return a world in which the server of ada has a pod with GPUs, and the server of bob needs none."""
    sources = make_spec()["sources"]
    resources = {"limits": {"nvidia.com/gpu": GPUS}}
    sources[0]["served"] |= {"resources": resources, "tensorParallelSize": GPUS}
    world = World(make_run(sources=sources, **changes), settings=PRICED)
    world.run_until("serve/ada")
    world.place("serve/ada")
    world.serve("ada")
    return world


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({"maxGpuHours": 8}, "spec.budget.maxGpuHours: 8: the run has used 8.00 GPU hours: raise the limit to resume"),
        ({"maxCost": 24}, "spec.budget.maxCost: 24: the run has used 24.00 EUR for GPUs and endpoints: raise"),
    ],
)
def test_stages_with_gpus_stop_with_their_clients_and_the_others_continue(budget, message):
    world = generating(budget=budget)
    world.pass_time(minutes=59)
    assert {"serve/ada", "generate/ada", "serve/bob"} <= world.workloads().keys()
    world.pass_time(minutes=1)
    assert not {"serve/ada", "generate/ada"} & world.workloads().keys()
    for stage in ("serve/ada", "generate/ada"):
        status = world.stage(stage)
        assert (status.state, status.reason) == ("Pending", "BudgetExceeded")
        assert status.message == f"suspended: spec.budget.{next(iter(budget))} is used up"
    state, reason, text = world.condition("Ready")
    assert (state, reason) == ("False", "BudgetExceeded")
    assert text.startswith(message)
    assert "; running: serve/bob" in text
    assert world.condition("Suspended")[0] == "False"
    world.run_to_end()
    assert world.condition("Suspended")[:2] == ("True", "BudgetExceeded")
    assert world.stage("generate/bob").state == "Succeeded"
    assert world.status.cost == "24.00 EUR"
    assert world.status.cost_micro == world.stage("serve/ada").gpu_cost_micro == 24_000_000
    world.change_spec(budget=dict.fromkeys(budget, 1000))
    world.complete()


def test_a_stage_that_needs_gpus_does_not_start_over_the_budget():
    world = World(make_run(training=TRAINING, budget={"maxGpuHours": 8}))
    world.run_until("sft")
    world.place("sft")
    world.pass_time(hours=1)
    assert "sft" not in world.workloads()
    made = list(world.created)
    world.run_to_end()
    assert "PyTorchJob:sft" not in world.created[len(made) :]


def test_a_run_that_needs_no_gpus_any_more_completes_over_its_budget():
    world = World(make_run(training=TRAINING))
    for stage in ("sft", "dpo", "promote"):
        world.run_until(stage)
        world.place(stage)
        world.pass_time(hours=1)
        world.finish_in_turn(stage)
    world.change_spec(budget={"maxGpuHours": 0.5})
    world.complete()
    assert world.status.gpu_seconds >= 3 * 3600 * GPUS


def test_paid_endpoints_stop_at_the_maximum_cost_and_their_cost_is_kept():
    paid = external_source(prices={"prompt": 1, "completion": 2}) | {"name": "ada"}
    world = World(make_run(sources=[paid, make_spec()["sources"][1]], budget={"maxCost": 5}))
    world.run_until("generate/ada")
    for stage in world.run["status"]["stages"]:
        if stage["name"] == "generate/ada":
            stage["costMicro"] = 5_000_000
    world.settle()
    assert "generate/ada" not in world.workloads()
    assert world.stage("generate/ada").cost_micro == world.status.cost_micro == 5_000_000
    assert world.status.cost == "5.00"
    assert "serve/bob" in world.workloads()
    made = list(world.created)
    world.settle()
    assert world.created == made
    world.change_spec(budget={"maxCost": 6})
    assert "generate/ada" in world.workloads()


def test_a_price_may_depend_on_the_node_selector():
    world = generating(scheduling={"nodeSelector": {"gpu": "h200"}})
    world.pass_time(hours=1)
    assert world.stage("serve/ada").gpu_cost_micro == 9_000_000 * GPUS


def test_the_gpu_budget_counts_pods_until_they_are_gone():
    sources = make_spec()["sources"]
    for source in sources:
        source["served"] |= {"resources": {"limits": {"nvidia.com/gpu": 2}}, "tensorParallelSize": 2}
    world = World(make_run(sources=sources, scheduling={"gpuBudget": 2}))
    world.run_until("serve/ada")
    world.serve("ada")
    pod = world.place("serve/ada")
    world.settle()
    world.finish("generate/ada")
    world.reconcile()  # deletes the server in the background: its pod terminates
    pod["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:35Z"
    world.objects[ref_of(pod)] = pod
    world.settle()
    assert world.stage("serve/ada").state == "Succeeded"
    assert world.stage("serve/bob").message == "spec.scheduling.gpuBudget: 2: the stage needs 2 GPUs, 2 are in use"
    assert world.status.gpus_in_use == 2
    world.now += timedelta(minutes=1)
    del world.objects[ref_of(pod)]
    world.settle()
    assert (world.status.gpus_in_use, world.stage("serve/ada").gpu_seconds) == (0, 120)
    assert "serve/bob" in world.workloads()
