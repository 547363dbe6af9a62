"""Limits of ``spec.scheduling``, and pods of a deleted run of the same name."""

import pytest

from fusionrun.api.results.result import Outcome, StageResult, encode_result
from fusionrun.state.observe.object_ref import ref_of
from support.runs import make_run
from support.world import World, world_after

GPU = {"limits": {"nvidia.com/gpu": 4}}


def run_with_gpus(**scheduling):
    run = make_run(scheduling=scheduling, training={"nodes": 2, "processesPerNode": 4, "resources": GPU})
    for source in run["spec"]["sources"]:
        source["served"] |= {"resources": GPU, "tensorParallelSize": 4}
    return run


def test_a_stage_larger_than_the_budget_is_reported_before_acceptance():
    world = World(run_with_gpus(gpuBudget=6))
    decision = world.reconcile()
    status, reason, message = world.condition("Ready")
    assert (status, reason) == ("False", "WaitingForGpus")
    assert message.startswith("spec.scheduling.gpuBudget: 6: stage sft needs 8 GPUs at once: raise the budget")
    assert world.condition("Finished")[0] == "False"
    assert not world.objects
    assert decision.requeue_seconds is not None
    world.change_spec(scheduling={"gpuBudget": 8})
    world.complete()


def test_a_stage_waits_for_a_lowered_budget():
    world = World(run_with_gpus(gpuBudget=8))
    world.run_until("construct")
    world.change_spec(scheduling={"gpuBudget": 4})
    world.run_to_end()
    assert world.stage("sft").state == "Waiting"
    assert world.stage("sft").message == "spec.scheduling.gpuBudget: 4: the stage needs 8 GPUs, 0 are in use"
    assert "sft: spec.scheduling.gpuBudget: 4" in world.condition("Ready")[2]
    world.change_spec(scheduling={"gpuBudget": 8})
    world.complete()


@pytest.mark.parametrize("scaled", [True, False], ids=["scaled by somebody", "fewer in the spec since it started"])
def test_a_server_with_more_replicas_than_the_spec_has_counts_with_all_of_them(scaled):
    run = run_with_gpus(gpuBudget=8)
    run["spec"]["sources"][0]["served"]["replicas"] = 1 if scaled else 2
    world = World(run)
    world.run_until("serve/ada")
    world.place("serve/ada")
    world.run["spec"]["sources"][0]["served"]["replicas"] = 1
    server = world.workloads()["serve/ada"]
    server["spec"] = server["spec"] | {"replicas": 2}
    for ref in [ref for ref in world.objects if "serve-bob" in ref.name]:
        del world.objects[ref]
    world.settle()
    text = "spec.scheduling.gpuBudget: 8: the stage needs 4 GPUs, 8 are in use: serve/ada holds 8 until about "
    assert world.stage("serve/bob").message.startswith(text)


def test_max_servers_limits_the_running_servers():
    world = World(make_run(scheduling={"maxServers": 1}))
    world.settle()
    most = 0
    while world.step():
        world.settle()
        servers = [s for s in world.status.stages if s.name.startswith("serve/")]
        most = max(most, sum(s.state in ("Running", "Ready") for s in servers))
        waiting = [s for s in servers if s.state == "Waiting"]
        assert all(s.message == "spec.scheduling.maxServers: 1: 1 servers are running" for s in waiting)
    assert most == 1
    assert world.condition("Complete")[0] == "True"


def test_pods_of_a_deleted_run_of_the_same_name_are_ignored():
    """A run that is created again finds the pods of the deleted one until they are garbage-collected."""
    before = world_after()
    resolve = before.workloads()["resolve"]
    killed = {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-01-02T03:04:09Z"}
    result = encode_result(StageResult(outcome=Outcome.SUCCEEDED, pins=["f" * 12] * 99))
    before.add_pod(resolve, f"{resolve['metadata']['name']}-0", {"phase": "Failed"}, killed, 0)
    before.add_pod(resolve, f"{resolve['metadata']['name']}-1", {"phase": "Succeeded"}, {"message": result}, 0)
    run = make_run()
    run["metadata"]["uid"] = "99999999-2222-3333-4444-555555555555"
    world = World(run, objects={ref_of(pod): pod for pod in before.of_kind("Pod")})
    world.complete()
    assert world.stage("resolve").state == "Succeeded"
