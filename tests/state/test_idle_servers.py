"""A server starts only when its client could work."""

import pytest

from fusionrun.api.stage import StageKind
from fusionrun.api.status.conditions import Reason
from fusionrun.state.decide import run as run_module
from fusionrun.state.decide.prerequisites import Missing
from fusionrun.state.observe.object_fields import format_time
from fusionrun.state.observe.object_ref import ref_of
from support.runs import make_spec
from support.world import World, world_after

PREPARED = ("resolve", "prepare/prompts", "prepare/benchmarks")


def with_solutions():
    """Return the data sets, one of them with reference solutions."""
    datasets = make_spec()["datasets"]
    datasets[1]["columns"]["solution"] = "solution"
    return datasets


def servers(world: World) -> list[str]:
    return [stage for stage in world.workloads() if stage.startswith("serve/") and "eval" not in stage]


def test_a_server_waits_for_the_verdicts_that_its_client_needs():
    world = world_after(*PREPARED, datasets=with_solutions())
    assert "verify/solutions" in world.workloads()
    assert not servers(world)
    assert world.stage("serve/ada").state == "Pending"
    world.finish_in_turn("verify/solutions")
    assert servers(world) == ["serve/ada", "serve/bob"]


def test_no_server_runs_while_a_missing_runtime_class_keeps_its_client_from_its_input():
    world = world_after("resolve", datasets=with_solutions())
    world.run["spec"]["scheduling"] = {"sandboxRuntimeClassName": "gone"}
    world.absent = {"gone"}
    world.finish_in_turn(*PREPARED[1:])
    world.pass_time(hours=48)
    assert world.stage("verify/solutions").reason == Reason.RUNTIME_CLASS_MISSING
    assert not servers(world)


def test_a_server_waits_for_a_prerequisite_of_its_client(monkeypatch):
    absent = Missing(Reason.PRIORITY_CLASS_MISSING, "gone", lambda stage: stage.kind is StageKind.GENERATE)
    world = world_after("resolve")
    monkeypatch.setattr(run_module, "missing", lambda *_: (absent,))
    world.finish_in_turn(*PREPARED[1:])
    assert (world.stage("serve/ada").state, world.stage("serve/ada").message) == ("Waiting", "gone")
    monkeypatch.undo()
    world.complete()


@pytest.mark.parametrize("then", ["the Job is complete", "the Job is deleted", "the Job fails"])
def test_a_stage_succeeds_when_every_shard_has_a_succeeded_pod_before_the_job_is_complete(then):
    world = world_after(*PREPARED, "serve/ada")
    job = world.workloads()["generate/ada"]
    world.finish("generate/ada")
    complete, job["status"] = job["status"], {"active": 2}
    *_, last = [ref for ref in world.objects if ref.kind == "Pod" and ref.name.startswith(job["metadata"]["name"])]
    pod = world.objects.pop(last)
    world.settle()
    assert "serve/ada" in world.workloads(), "a shard is missing"
    assert world.stage("generate/ada").state == "Running"
    world.objects[last] = pod
    world.settle()
    assert "serve/ada" not in world.workloads()
    assert [world.stage(f"{kind}/ada").state for kind in ("serve", "generate")] == ["Succeeded", "Succeeded"]
    if then == "the Job is complete":
        job["status"] = complete
    elif then == "the Job fails":
        condition = {"type": "Failed", "status": "True", "lastTransitionTime": format_time(world.now)}
        job["status"] = {"conditions": [condition]}
    else:
        del world.objects[ref_of(job)]
    world.settle()
    world.pass_time(seconds=20)
    world.complete()
    assert world.started.count("Deployment:serve.ada") == 1
