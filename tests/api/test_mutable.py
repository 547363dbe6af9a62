"""The fields that may change during a run."""

import json

import pytest

from fusionrun.api.spec.mutable import SPEC_FIELDS, mutable_paths, with_mutable_fields
from fusionrun.api.spec.run import FusionRunSpec
from support.mutable import CHANGES, in_spec
from support.plans import pinned_by_uri, read
from support.runs import (
    called_reward,
    changed,
    evaluation_only,
    external_judge,
    external_source,
    make_spec,
    measured,
    rated,
    served_judge,
)

SERVED = ("replicas", "resources", "tensorParallelSize", "pipelineParallelSize", "startupTimeoutSeconds")


def spec_for(path: str) -> dict:
    if path.startswith("evaluateOnly"):
        return evaluation_only(measured("ada", server={"dtype": "float32"}))
    spec = make_spec(rewardModel=called_reward()) if path.startswith("rewardModel.endpoint") else make_spec()
    spec["sources"].append(external_source())
    judge = served_judge() if path.startswith("evaluation.judge.served") else external_judge()
    spec["evaluation"] |= {"benchmarks": [rated()], "judge": judge}
    return spec


def accepted(spec: dict) -> dict:
    """Return a spec as the operator keeps it: with all defaults."""
    return read(spec).model_dump(mode="json", exclude_none=True)


def test_what_decides_how_much_a_stage_gets_may_change_and_what_it_makes_may_not():
    paths = set(mutable_paths())
    assert {f"sources[].served.{name}" for name in SERVED} <= paths
    assert {f"evaluation.server.{name}" for name in SERVED} <= paths
    assert {f"evaluation.judge.served.{name}" for name in SERVED} <= paths
    assert {f"evaluateOnly.models[].server.{name}" for name in SERVED} <= paths
    assert {"training.resources", "rewardModel.resources", "generation.parallelism", "dataStages"} <= paths
    for path in ("sources[].served.model", "training.nodes", "generation.shards", "rewardModel.maxLength", "datasets"):
        assert not [p for p in paths if p == path or p.startswith(f"{path}.")], path


@pytest.mark.parametrize("path", CHANGES)
def test_a_mutable_field_is_in_no_digest_and_read_from_the_live_spec(path):
    base = spec_for(path)
    live = changed(base, in_spec(path, base), CHANGES[path])
    before, after = pinned_by_uri(base), pinned_by_uri(live)
    assert before.digests == after.digests
    assert [s.name for s in before.plan.stages] == [s.name for s in after.plan.stages]
    assert FusionRunSpec.model_validate(with_mutable_fields(accepted(base), live)) == read(live)
    assert FusionRunSpec.model_validate(with_mutable_fields(accepted(live), base)) == read(base), "it is removed"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("sources[0].served.model.uri", "pvc://fusion-data/other"),
        ("sources[0].served.extraArgs", ["--enforce-eager"]),
        ("training.nodes", 4),
        ("training.dpo", {"beta": 1.0}),
        ("generation.shards", 9),
        ("sources[2].endpoint.url", "https://other/v1"),
        ("recipe", "other"),
        ("sources[2]", {"name": "new", "served": {"model": {"uri": "pvc://fusion-data/new"}, "replicas": 9}}),
        ("evaluation.judge.endpoint.url", "https://other/v1"),
        ("evaluation.benchmarks", []),
        ("rewardModel.endpoint", {"url": "https://x", "model": "x", "apiKeySecretRef": {"name": "n", "key": "k"}}),
    ],
)
def test_other_fields_are_read_from_the_accepted_spec(path, value):
    spec = spec_for("")
    found = FusionRunSpec.model_validate(with_mutable_fields(accepted(spec), changed(spec, path, value)))
    assert found == read(spec)


def test_a_live_spec_that_lacks_whole_parts_has_their_defaults():
    spec = make_spec(generation={"shards": 3, "parallelism": 9}, training={"nodes": 2, "gradientCheckpointing": False})
    live = {k: v for k, v in spec.items() if k not in ("generation", "training", "evaluation")}
    found = FusionRunSpec.model_validate(with_mutable_fields(accepted(spec), live))
    assert (found.generation.shards, found.generation.parallelism) == (3, 2)
    assert (found.training.nodes, found.training.gradient_checkpointing) == (2, True)


def test_sources_are_matched_by_name():
    spec = make_spec()
    live = json.loads(json.dumps(spec))
    live["sources"].reverse()
    live["sources"][0]["served"]["replicas"] = 7
    found = FusionRunSpec.model_validate(with_mutable_fields(accepted(spec), live))
    assert [(s.name, s.served.replicas) for s in found.sources] == [("ada", 1), ("bob", 7)]


def test_a_list_with_mutable_fields_has_a_key():
    lists = [f.path for f in SPEC_FIELDS if f.mixed and f.is_list]
    assert lists == ["sources"]
