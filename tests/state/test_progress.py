"""What the pods of a stage at work push becomes its status: the sum over shards, in steps."""

from datetime import timedelta

from fusionrun.api.result import Progress
from fusionrun.state.live import Pushed
from support.runs import make_run
from support.world import World


def generating(*pushed: tuple[int, dict[str, float]]) -> World:
    """Return a world in which generate/ada runs in two shards, of which these many of 100 are done."""
    world = World(make_run())
    world.finish_in_turn("resolve", "prepare/prompts", "prepare/benchmarks")
    world.make_ready("serve/ada")
    world.settle()
    for shard, (done, numbers) in enumerate(pushed):
        progress = Progress(done=done, total=100, unit="samples", numbers=numbers)
        world.pushed["generate/ada", shard] = Pushed(progress, world.now)
    return world


def test_progress_of_the_shards_is_a_percentage_of_the_stage():
    world = generating((50, {}), (10, {}))
    world.settle()
    progress = world.stage("generate/ada").progress
    assert (progress.done, progress.total, progress.unit) == (30, 100, "%")


def test_the_time_left_is_told_in_steps():
    world = generating((50, {}), (10, {}))
    world.now += timedelta(seconds=60)
    world.settle()
    assert world.stage("generate/ada").eta_seconds == 150  # 140 s, in steps of 15


def test_tokens_per_second_and_cost_are_summed_over_the_shards():
    numbers = {"tokens_per_second": 20.25, "cost_micro": 300.0}
    world = generating((50, numbers), (10, numbers))
    world.settle()
    stage = world.stage("generate/ada")
    assert (stage.tokens_per_second, stage.cost_micro) == (40.5, 600)


def test_a_stage_without_prices_has_no_cost():
    world = generating((50, {}))
    world.settle()
    assert world.stage("generate/ada").cost_micro is None
