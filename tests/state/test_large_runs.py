"""The largest specs: every object fits into the API server, or the run is refused before its acceptance."""

import json

from fusionrun.api.status.conditions import Reason
from fusionrun.state.observe.accepted_run import SPEC_MAX_BYTES
from support.runs import make_run, make_spec
from support.world import World

CONFIG_MAP_MAX_BYTES = 1024 * 1024
"""Source: Kubernetes, "ConfigMaps"."""


def size(value: object) -> int:
    return len(json.dumps(value))


def largest_config_map(world: World) -> int:
    return max(sum(len(text.encode()) for text in o["data"].values()) for o in world.of_kind("ConfigMap"))


def test_a_run_with_32_sources_and_64_data_sets_completes_with_small_objects():
    spec = make_spec()
    for i in range(2, 32):
        served = {"model": {"uri": f"hf://org/model-{i}"}, "resources": {"limits": {"nvidia.com/gpu": 1}}}
        spec["sources"].append({"name": f"source-{i:02d}-abcdefghijk", "served": served})
    spec["datasets"] = [data | {"name": f"{data['name']}-{i}"} for i in range(32) for data in spec["datasets"]]
    spec["generation"] = {"shards": 1}
    spec["publish"] = {"uri": "pvc://fusion-data/out"}
    world = World(make_run("n" * 50, **spec))
    world.run_until("construct")
    assert len(world.status.stages) > 200
    assert largest_config_map(world) < 128 * 1024
    assert size(world.run["status"]) < 96 * 1024
    world.complete()
    assert size(world.run["status"]) < 96 * 1024


def with_prompts(bytes_of_spec: int) -> dict:
    """Return a run whose spec has about this many bytes, most of them in the pairs of the calibration.

    JSON writes a letter outside ASCII in six bytes; the schema bounds a text to 4,096 letters.
    """
    run = make_run()
    calibration = run["spec"]["rewardModel"]["calibration"]
    text = "é" * (bytes_of_spec // (32 * 3 * 6))
    calibration["pairs"] = [{"prompt": text, "better": text, "worse": text}] * 32
    return run


def test_a_spec_of_900_kilobytes_is_accepted():
    world = World(with_prompts(900_000))
    assert size(world.run["spec"]) > 890_000
    world.run_until("score/ada")
    assert largest_config_map(world) < CONFIG_MAP_MAX_BYTES
    world.complete()


def test_a_spec_that_its_config_map_cannot_hold_is_refused():
    world = World(with_prompts(1_000_000))
    world.settle()
    status, reason, message = world.condition("Failed")
    assert (status, reason) == ("True", Reason.INVALID_SPEC)
    assert message.startswith("spec: 10")
    assert f"must be at most {SPEC_MAX_BYTES}, since the run keeps it in ConfigMap tiny-spec" in message
    assert "shorten spec.rewardModel (" in message
    assert not world.objects
    assert world.status.spec_digest is None
