"""Progress that pods push: it is summed over the shards into the status of the stage."""

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionrun.api.results.result import Outcome, Progress, StageResult, decode_result
from fusionrun.api.results.values import Trained
from fusionrun.api.stage import StageKind
from fusionrun.api.storable import NUMBER_MAX
from fusionrun.state.observe.live_objects import PushedProgress
from support.properties import quick
from support.runs import make_run
from support.world import World, succeeded, world_after


def generating(*pushed: tuple[int, dict[str, float]]) -> World:
    """Return a world in which generate/ada runs in two shards, with the progress of each."""
    world = world_after("resolve", "prepare/prompts", "prepare/benchmarks", "serve/ada")
    for shard, (done, numbers) in enumerate(pushed):
        progress = Progress(done=done, total=100, unit="samples", numbers=numbers)
        world.pushed["generate/ada", shard] = PushedProgress(progress, world.now, since=world.now)
    return world


def test_progress_of_the_shards_is_summed():
    numbers = {"tokens_per_second": 20.25, "cost_micro": 300.0}
    unknown_shard = (100, {"tokens_per_second": 9.0})
    world = generating((50, numbers), (10, numbers), unknown_shard)
    world.pass_time(seconds=60)
    stage = world.stage("generate/ada")
    assert (stage.progress.done, stage.progress.total, stage.progress.unit) == (30, 100, "%")
    assert stage.eta_seconds == 150  # 140 s, in steps of 15
    assert (stage.tokens_per_second, stage.cost_micro) == (40.5, 600)


@pytest.mark.parametrize(
    ("first", "done", "seconds_left"),
    [(0, 93, 285), (90, 93, 8400), (93, 93, None), (92, 93, None)],
    ids=["from the start", "resumed", "nothing yet", "too early"],
)
def test_the_time_left_follows_from_the_speed_since_a_pod_first_reported(first, done, seconds_left):
    world = world_after("resolve")
    progress = Progress(done=done, total=100)
    world.pushed["prepare/prompts", 0] = PushedProgress(progress, world.now, first_done=first, since=world.now)
    world.pass_time(hours=1)
    assert world.stage("prepare/prompts").eta_seconds == seconds_left


def test_a_stage_without_prices_has_no_cost():
    world = generating((50, {}))
    world.settle()
    assert world.stage("generate/ada").cost_micro is None


INT64 = 2**63
NUMBERS = ("tokens_per_second", "cost_micro", "loss", "reward_accuracy", "reward_margin", "gradient_norm", "mfu")
EXTREME = st.sampled_from([10**30, -(10**30), 10**400, 1e308])
ANYTHING = st.one_of(st.none(), st.integers(), st.integers(-4, 4), st.floats(), EXTREME, st.text(max_size=40))
VALID = st.builds(
    Progress,
    done=st.integers(0, 2**53),
    total=st.integers(0, 2**53),
    unit=st.text(max_size=32),
    numbers=st.dictionaries(st.sampled_from(NUMBERS), st.floats(-NUMBER_MAX, NUMBER_MAX)),
)
FIELDS = dict.fromkeys(("done", "total", "unit"), ANYTHING)
FIELDS["numbers"] = st.one_of(ANYTHING, st.dictionaries(st.sampled_from(NUMBERS), ANYTHING))
UNCHECKED = st.fixed_dictionaries({}, optional=FIELDS).map(lambda fields: Progress.model_construct(**fields))
STAGES = st.sampled_from(["generate/ada", "prepare/benchmarks", "verify/ada.coding", "no/such.stage"])


def _never(constant: str) -> None:
    raise AssertionError(f"{constant} in a status is rejected by the API server")


def _integers(value):
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _integers(item)
    elif isinstance(value, int):
        yield value


@quick
@given(st.dictionaries(st.tuples(STAGES, st.integers(-2, 5)), st.one_of(VALID, UNCHECKED)))
def test_no_pushed_progress_breaks_the_decision_or_the_status(pushed):
    world = world_after("resolve", "prepare/prompts", "serve/ada")
    world.now += timedelta(hours=1)
    started = world.now - timedelta(minutes=1)
    world.pushed = {key: PushedProgress(p, world.now, since=started) for key, p in pushed.items()}
    world.settle()
    status = json.loads(json.dumps(world.run["status"]), parse_constant=_never)
    assert all(-INT64 <= number < INT64 for number in _integers(status))
    world.change_spec(suspend=True)
    assert not world.workloads()


def test_a_number_that_a_status_cannot_hold_is_left_out_of_a_result():
    """The rest of the result of a diverged training run is kept."""
    huge, trained = f"1{'0' * 30}", Trained(kind=StageKind.SFT, rows=7, last_loss=None, first_loss=0.5)
    typed = (
        f'"values":{{"kind":"sft","rows":7,"tokens":{huge},"lastLoss":NaN,"firstLoss":0.5,"lastRewardAccuracy":1e400}}'
    )
    flat = f'"counts":{{"rows":7,"tokens":{huge}}},"numbers":{{"last_loss":NaN,"first_loss":0.5,"big":1e400}}'
    for form in (typed, flat, f"{typed},{flat}"):
        result = decode_result(f'{{"outcome":"Succeeded",{form}}}', "sft")
        assert (result.outcome, result.values) == (Outcome.SUCCEEDED, trained)

    def diverged(kind, task):
        values = Trained(kind=StageKind.SFT, last_loss=float("nan"))
        return StageResult(outcome=Outcome.SUCCEEDED, values=values) if kind == "sft" else succeeded(kind, task)

    world = World(make_run(), answer=diverged)
    world.run_to_end()
    json.loads(json.dumps(world.run["status"]), parse_constant=_never)
    assert (world.stage("sft").state, world.stage("sft").loss) == ("Succeeded", None)
