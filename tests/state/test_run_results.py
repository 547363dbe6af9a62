"""The results of a run: scores, data set, artifacts, and the ConfigMaps that record it."""

import json

import pytest

from fusionrun.api.results.result import Outcome, StageResult
from fusionrun.api.results.values import Constructed, DatasetCounts, Generated, Judged, Promoted, SourceCounts
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.status.conditions import Reason
from fusionrun.api.tasks.task import decode_task
from fusionrun.state.report.results import dataset_summary, final_numbers
from support.runs import make_run, make_spec
from support.world import World, succeeded, with_complete


def published(world: World) -> dict:
    for manifest in world.objects.values():
        if manifest["kind"] == "ConfigMap" and manifest["metadata"]["labels"].get("fusionrun.dev/stage") == "publish":
            return decode_task(manifest["data"]["task.json"]).parameters.scores
    raise LookupError("publish")


def test_the_model_card_has_the_latest_scores():
    world = World(make_run(publish={"uri": "pvc://fusion-data/out"}))
    world.run_to_end()
    assert published(world) == {name: {"base": 20.0, "sft": 50.0, "final": 60.0} for name in ("math-test", "code-test")}


def test_the_status_summarizes_the_data_set():
    by_source = {"ada": SourceCounts(sft_rows=4, win_rate=0.75)}
    made = Constructed(sft_rows=7, pairs=5, truncated_share=0.125, mean_margin=0.04, by_source=by_source)
    result = StageResult(outcome=Outcome.SUCCEEDED, values=made)
    summary = dataset_summary([result], FusionRunSpec.model_validate(make_spec()))
    assert (summary.truncated_share, summary.mean_margin) == (0.125, 0.04)
    assert [(row.source, row.win_rate) for row in summary.by_source] == [("ada", 0.75), ("bob", None)]
    assert summary.by_dataset == []  # the result has no such counts


def run_with_presets() -> dict:
    own = make_spec()["datasets"][0]
    presets = [
        {"name": "helpsteer", "preset": "HelpSteer2", "task": "Instruction"},
        {"name": "zh", "preset": "alpaca_gpt4_zh", "task": "SftOnly"},
    ]
    return make_run(datasets=[own, *presets])


def sized(kind, task):
    """Return a result of ``construct`` with half of the published pairs of HelpSteer2."""
    result = succeeded(kind, task)
    if kind != "construct":
        return result
    by_dataset = {
        "math": DatasetCounts(sft_rows=3, pairs=2),
        "helpsteer": DatasetCounts(sft_rows=3700, pairs=2830),
        "zh": DatasetCounts(sft_rows=2471),
    }
    return result.model_copy(update={"values": result.values.model_copy(update={"by_dataset": by_dataset})})


def test_the_status_shows_each_data_set_beside_the_recipes_table_and_warns_once():
    world = World(run_with_presets(), answer=sized)
    world.run_to_end()
    rows = [row.model_dump(exclude_none=True) for row in world.status.dataset.by_dataset]
    assert rows == [
        {"name": "math", "sftRows": 3, "pairs": 2},
        {"name": "helpsteer", "sftRows": 3700, "pairs": 2830, "recipeSftRows": 3774, "recipePairs": 5661,
         "warning": "2,830 pairs, the recipe has 5,661 (-50%)"},
        {"name": "zh", "sftRows": 2471, "pairs": 0, "recipeSftRows": 2471, "recipePairs": 0},
    ]  # fmt: skip
    warned = [(e.type, e.message) for e in world.events if e.reason == Reason.DATASET_SIZE_DIFFERS]
    assert warned == [("Warning", "datasets[helpsteer]: 2,830 pairs, the recipe has 5,661 (-50%)")]


def test_a_data_set_of_the_published_size_gives_no_warning():
    world = World(make_run())
    world.run_to_end()
    assert Reason.DATASET_SIZE_DIFFERS not in {e.reason for e in world.events}


def test_a_skipped_model_is_not_among_the_artifacts():
    world = World(make_run(), answer=with_complete(lambda stage: stage != "sft"))
    world.run_to_end()
    assert world.stage("sft").reason == "NoLongerNeeded"
    assert world.status.artifacts.sft_model is None
    assert world.status.artifacts.model.endswith("/model")


def test_a_coding_benchmark_needs_the_runtime_class_too():
    spec = make_run()["spec"]
    run = make_run(datasets=spec["datasets"][:1], scheduling={"sandboxRuntimeClassName": "isolated"})
    world = World(run, absent={"isolated"})
    world.settle()
    assert world.condition("Ready")[1] == "RuntimeClassMissing"


def test_a_run_with_a_dot_in_its_name_keeps_its_own_config_maps():
    runs = [World(make_run(name=name)) for name in ("llama-3.1", "llama-3-1")]
    for world in runs:
        world.settle()
        world.finish("resolve")
        world.settle()
    kept = [{o["metadata"]["name"] for o in w.objects.values() if o["kind"] == "ConfigMap"} for w in runs]
    frozen = [{n for n in names if n.endswith(("-spec", "-resolved"))} for names in kept]
    assert frozen == [{"llama-3.1-spec", "llama-3.1-resolved"}, {"llama-3-1-spec", "llama-3-1-resolved"}]


def test_the_accepted_spec_and_images_are_stored():
    world = World(make_run())
    world.settle()
    kept = next(o for o in world.objects.values() if o["metadata"]["name"] == "tiny-spec")
    spec = json.loads(kept["data"]["spec.json"])
    assert spec["training"]["dpo"]["beta"] == 10
    assert json.loads(kept["data"]["images.json"])["data"] == "data:1"


@pytest.mark.parametrize(
    ("held_out", "shown"),
    [
        (
            {"loss": 0.123456, "accuracy": 0.87654, "loss_difference": -0.0123456, "loss_standard_error": 0.000234567},
            {"loss": 0.1235, "reward_accuracy": 0.8765, "loss_difference": -0.01235, "loss_standard_error": 0.0002346},
        ),
        (
            {"loss": 0.5, "accuracy": 0.0, "loss_difference": 0.0},  # one pair
            {"loss": 0.5, "reward_accuracy": 0.0, "loss_difference": 0.0, "loss_standard_error": None},
        ),
        ({}, {"loss": None, "reward_accuracy": None, "loss_difference": None, "loss_standard_error": None}),
    ],
)
def test_the_status_has_the_held_out_loss_of_promote_and_how_the_candidates_differ(held_out, shown):
    values = Promoted(step=8, candidates=2, **{f"held_out_{name}": value for name, value in held_out.items()})
    numbers = final_numbers([StageResult(outcome=Outcome.SUCCEEDED, values=values)])
    assert {name: numbers[name] for name in shown} == shown


def test_the_cost_of_a_stage_is_that_of_its_requests():
    results = [
        StageResult(outcome=Outcome.SUCCEEDED, values=values)
        for values in (Generated(cost_micro=5), Judged(cost_micro=7), Judged(), Generated())
    ]
    assert final_numbers(results)["cost_micro"] == 12
