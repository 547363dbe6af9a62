"""A prerequisite that disappears during a run delays only the stages that need it."""

import pytest

from fusionrun.api.status.conditions import Reason
from support.runs import make_run, make_spec
from support.world import World, world_after

CLASS = "isolated"


def generated(**changes) -> World:
    """Return a world in which generate/ada has finished, and its server is about to be deleted."""
    world = world_after(
        "resolve", "prepare/prompts", "serve/ada", scheduling={"sandboxRuntimeClassName": CLASS}, **changes
    )
    world.finish("generate/ada")
    return world


@pytest.mark.parametrize("absent", ["fusion-data", CLASS])
def test_a_server_is_deleted_while_a_prerequisite_is_missing(absent):
    world = generated()
    world.absent.add(absent)
    world.settle()
    assert "serve/ada" not in world.workloads()
    assert world.stage("serve/ada").state == "Succeeded"
    assert "serve/bob" in world.workloads()


def test_no_stage_starts_while_the_claim_is_missing():
    world = generated()
    world.absent.add("fusion-data")
    made = list(world.created)
    world.settle()
    assert world.created == made
    assert world.condition("Ready")[:2] == ("False", Reason.CLAIM_MISSING)
    assert world.stage("verify/ada.mathematics").reason == Reason.CLAIM_MISSING
    world.absent.clear()
    world.complete()


def test_only_the_stages_that_need_a_prerequisite_wait_for_it():
    world = generated()
    world.absent.add(CLASS)
    world.settle()
    assert "verify/ada.mathematics" in world.workloads()
    assert "verify/ada.coding" not in world.workloads()
    stage = world.stage("verify/ada.coding")
    assert (stage.state, stage.reason) == ("Waiting", Reason.RUNTIME_CLASS_MISSING)


def test_only_stages_with_gpus_wait_for_the_runtime_class_of_gpus():
    sources = make_spec()["sources"]
    sources[0]["served"] |= {"resources": {"limits": {"nvidia.com/gpu": 1}}}
    world = world_after("resolve", sources=sources, scheduling={"gpuRuntimeClassName": "nvidia"})
    world.absent.add("nvidia")
    world.finish_in_turn("prepare/prompts")
    assert "serve/bob" in world.workloads()
    assert "serve/ada" not in world.workloads()
    stage = world.stage("serve/ada")
    assert (stage.state, stage.reason) == ("Waiting", Reason.RUNTIME_CLASS_MISSING)
    assert stage.message.startswith("spec.scheduling.gpuRuntimeClassName: 'nvidia': no such RuntimeClass")
    world.absent.clear()
    world.complete()


def test_only_the_pods_of_a_part_wait_for_its_runtime_class():
    sources = make_spec()["sources"]
    sources[0]["served"]["pod"] = {"runtimeClassName": "nvidia"}
    world = world_after("resolve", sources=sources)
    world.absent.add("nvidia")
    world.finish_in_turn("prepare/prompts")
    assert "serve/bob" in world.workloads()
    assert "serve/ada" not in world.workloads()
    text = "spec.sources[ada].served.pod.runtimeClassName: 'nvidia': no such RuntimeClass"
    assert world.stage("serve/ada").message.startswith(text)
    world.absent.clear()
    world.complete()


def test_a_run_without_gpus_does_not_need_their_runtime_class():
    world = World(make_run(scheduling={"gpuRuntimeClassName": "nvidia"}), absent={"nvidia"})
    world.complete()


def test_a_prerequisite_of_finished_stages_may_be_missing():
    world = World(make_run())
    world.run_until("promote")
    world.absent.add("pytorchjobs.kubeflow.org")
    world.complete()


@pytest.mark.parametrize(
    ("changes", "kind", "reason"),
    [
        ({"suspend": True}, "Suspended", "Suspended"),
        ({"activeDeadlineSeconds": 60}, "Failed", "DeadlineExceeded"),
    ],
)
def test_a_run_is_stopped_while_a_prerequisite_is_missing(changes, kind, reason):
    world = generated()
    world.settle()
    world.absent.add("fusion-data")
    world.run["spec"] |= changes
    world.pass_time(hours=1)
    assert world.condition(kind)[:2] == ("True", reason)
    assert not world.workloads()
