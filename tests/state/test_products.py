"""What a run leaves to people: scores on the card, paths of what was really made, names that collide with none."""

import json

from fusionrun.api.result import Outcome, StageResult
from fusionrun.api.task import decode_task
from fusionrun.state.results import dataset_summary
from support.runs import make_run
from support.world import World, succeeded


def published(world: World) -> dict:
    for manifest in world.objects.values():
        if manifest["kind"] == "ConfigMap" and manifest["metadata"]["labels"].get("fusionrun.dev/stage") == "publish":
            return decode_task(manifest["data"]["task.json"]).parameters.scores
    raise LookupError("publish")


def test_the_card_has_the_scores_that_ended_last():
    world = World(make_run(publish={"uri": "pvc://fusion-data/out"}))
    world.run_to_end()
    assert published(world) == {name: {"base": 20.0, "sft": 50.0, "final": 60.0} for name in ("math-test", "code-test")}


def test_the_status_says_what_the_data_set_is_like():
    counts = {"sft_rows": 7, "pairs": 5, "sft:ada": 4, "drop:Truncated": 2}
    numbers = {"truncated_share": 0.125, "mean_margin": 0.04, "win:ada": 0.75}
    summary = dataset_summary([StageResult(outcome=Outcome.SUCCEEDED, counts=counts, numbers=numbers)], ["ada", "bob"])
    assert (summary.truncated_share, summary.mean_margin) == (0.125, 0.04)
    assert [(row.source, row.win_rate) for row in summary.by_source] == [("ada", 0.75), ("bob", None)]


def only_final_model(kind, task):
    """Answer as ``resolve`` when all but the SFT model is complete."""
    result = succeeded(kind, task)
    if kind != "resolve":
        return result
    names = [s.name for s in task.parameters.stages]
    return result.model_copy(update={"complete": [i for i, n in enumerate(names) if n != "sft"]})


def test_a_model_that_was_not_needed_and_is_not_there_is_not_promised():
    world = World(make_run(), answer=only_final_model)
    world.run_to_end()
    assert world.stage("sft").reason == "NoLongerNeeded"
    assert world.status.artifacts.sft_model is None
    assert world.status.artifacts.model.endswith("/model")


def test_the_runtime_class_is_asked_for_by_a_coding_benchmark_too():
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


def test_what_was_accepted_is_kept_whole():
    world = World(make_run())
    world.settle()
    kept = next(o for o in world.objects.values() if o["metadata"]["name"] == "tiny-spec")
    spec = json.loads(kept["data"]["spec.json"])
    assert spec["training"]["dpo"]["beta"] == 10
    assert json.loads(kept["data"]["images.json"])["data"] == "data:1"
