"""Warning events on a spec, once when the run is accepted."""

from dataclasses import replace

import pytest

from fusionrun.api.status.conditions import Reason
from fusionrun.settings import Accelerators, Price
from support.runs import make_run
from support.world import SETTINGS, World

PRICED = replace(SETTINGS, accelerators=Accelerators(prices=(Price("nvidia.com/gpu", 2.0),)))
UNPRICED = {"budget": {"maxCost": 5}, "training": {"resources": {"limits": {"nvidia.com/gpu": 1}}}}


def warned(world: World) -> list[str]:
    return [event.message.split(": ")[0] for event in world.events if event.reason is Reason.SPEC_WARNING]


@pytest.mark.parametrize(("settings", "expected"), [(SETTINGS, ["spec.budget.maxCost"]), (PRICED, [])])
def test_a_run_is_warned_of_once(settings, expected):
    world = World(make_run(**UNPRICED), settings=settings)
    world.settle()
    assert warned(world) == expected
    world.complete()
    assert warned(world) == expected


def test_learning_rates_that_are_omitted_with_adapters():
    world = World(make_run(training={"lora": {"rank": 8}, "dpo": {"learningRate": 5e-5}}))
    world.complete()
    assert warned(world) == ["spec.training.sft.learningRate"]


def test_a_run_that_waits_for_its_acceptance_is_warned_of_when_it_is_accepted():
    world = World(make_run(**UNPRICED), absent={"fusion-data"})
    world.settle()
    assert not warned(world)
    world.absent.clear()
    world.pass_time(seconds=10)
    assert warned(world) == ["spec.budget.maxCost"]


def test_a_retried_run_is_not_warned_of_again():
    world = World(make_run(**UNPRICED, backoffLimit=0))
    world.settle()
    world.fail("resolve", {"exitCode": 1, "message": "a network error"})
    world.settle()
    world.run["metadata"]["annotations"] = {"fusionrun.dev/retry": "1"}
    world.complete()
    assert warned(world) == ["spec.budget.maxCost"]
