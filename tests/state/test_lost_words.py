"""A stage whose last words were lost is made again where something rests on them: it answers from its manifest."""

from datetime import timedelta

import pytest

from fusionrun.api.status import Reason
from fusionrun.state.observe import ref_of
from support.runs import make_run
from support.world import World


def silent(stage: str, world: World) -> World:
    """Let a stage succeed, and its pods go before anybody heard them."""
    while stage not in world.workloads():
        world.settle()
        if stage not in world.workloads():
            assert world.step()
    job = world.workloads()[stage]["metadata"]["name"]
    world.finish(stage)
    for pod in [o for o in world.objects.values() if o["kind"] == "Pod" and o["metadata"]["name"].startswith(job)]:
        del world.objects[ref_of(pod)]
    world.settle()
    world.now += timedelta(seconds=11)
    world.settle()
    return world


@pytest.mark.parametrize("stage", ["resolve", "construct", "evaluate/final"])
def test_it_is_made_again_and_the_run_goes_on(stage):
    run = make_run()
    run["spec"]["evaluation"]["gate"] = [{"benchmark": "math-test", "against": "Base", "minDelta": 1.0}]
    world = silent(stage, World(run))
    assert world.workloads()[stage]["metadata"]["name"].endswith("-r1")
    retried = [e.message for e in world.events if e.reason == Reason.STAGE_RETRIED]
    assert retried == [f"{stage}: it ended, and its last words were lost"]
    world.run_to_end()
    assert world.condition("EvaluationPassed")[:2] == ("True", Reason.EVALUATION_PASSED)
    assert world.status.dataset.sft_rows == 7


@pytest.mark.parametrize("stage", ["resolve", "evaluate/final"])
def test_not_for_ever(stage):
    world = silent(stage, World(make_run(backoffLimit=1)))
    silent(stage, world)
    assert (world.stage(stage).state, world.stage(stage).reason) == ("Failed", Reason.INFRASTRUCTURE_ERROR)
    assert world.condition("Failed")[:2] == ("True", Reason.STAGE_FAILED)


def test_numbers_that_are_for_people_alone_fail_no_run():
    world = silent("construct", World(make_run(backoffLimit=0)))
    world.run_to_end()
    assert world.condition("Complete")[0] == "True"
    assert world.status.dataset is None


def test_a_stage_whose_product_speaks_for_itself_is_not_made_again():
    world = silent("prepare/prompts", World(make_run()))
    assert world.stage("prepare/prompts").state == "Succeeded"
