"""Broken FusionRuns that admission lets pass: what the operator says of them. No cluster."""

import json
from pathlib import Path

import pytest
import yaml

from fusionrun.api.spec import FusionRunSpec
from support.broken import FOLDER, REFUSED_BY, broken
from support.golden import GOLDEN, compare
from support.runs import UID
from support.world import World

REPOSITORY = Path(__file__).parents[2]
BASE = (Path(__file__).parent / "base.yaml").read_text()


def world_of(run: dict, **known) -> World:
    run["metadata"] |= {"namespace": "lab", "uid": UID, "generation": 1}
    return World(run, **known)


def test_there_are_enough_of_them_and_each_says_something():
    found = broken()
    assert len(found) == len(list(FOLDER.glob("*.yaml"))) >= 25
    assert all(b.says and b.text.startswith("# ") for b in found)
    assert {b.refused for b in found} == set(REFUSED_BY)


def test_the_base_is_without_fault():
    world = world_of(yaml.safe_load(BASE))
    world.run_to_end()
    assert world.condition("Complete")[0] == "True"


@pytest.mark.parametrize("case", broken("plan"), ids=lambda b: b.name)
def test_what_only_the_plan_can_see_fails_the_run_at_once(case):
    world = world_of(case.run)
    world.settle()
    status, reason, message = world.condition("Failed")
    assert (status, reason) == ("True", "InvalidSpec")
    assert world.condition("Finished")[0] == "True"
    assert not world.objects
    for fragment in case.says:
        assert fragment in message


@pytest.mark.parametrize("case", broken("cluster"), ids=lambda b: b.name)
def test_what_the_cluster_lacks_is_waited_for_in_words(case):
    world = world_of(
        case.run, absent={"not-there"} | ({"pytorchjobs.kubeflow.org"} if "operator" in case.name else set())
    )
    decision = world.reconcile()
    _, reason, message = world.condition("Ready")
    assert reason == case.says[0]
    for fragment in case.says[1:]:
        assert fragment in message
    assert world.condition("Finished")[0] == "False"
    assert decision.requeue_seconds <= 5
    assert not world.objects


@pytest.mark.parametrize("case", broken("resolve", "update"), ids=lambda b: b.name)
def test_bad_content_is_no_fault_of_the_spec_and_resolve_alone_may_start(case):
    world = world_of(case.run)
    world.settle()
    assert set(world.workloads()) == {"resolve"}


@pytest.mark.parametrize("case", broken("admission"), ids=lambda b: b.name)
def test_what_admission_refuses_starts_nothing_even_without_it(case):
    """The rules that CEL alone has may pass here; a field, a bound or an enum never does."""
    world = world_of(case.run)
    try:
        FusionRunSpec.model_validate(case.run["spec"], extra="forbid")
    except ValueError:
        world.settle()
        assert world.condition("Failed")[1] == "InvalidSpec"
        assert world.condition("Failed")[2].startswith("spec.")
        assert not world.objects


@pytest.mark.parametrize("name", ["tiny", "llama-3-1-8b"])
def test_the_golden_runs_are_the_samples(name):
    """``UPDATE_GOLDEN=1 pytest tests/crd tests/objects`` carries a changed sample over."""
    sample = yaml.safe_load((REPOSITORY / "manifests" / "samples" / f"{name}.yaml").read_text())
    compare(GOLDEN / name / "run.json", json.dumps(sample, indent=1) + "\n")


@pytest.mark.parametrize("path", sorted((REPOSITORY / "manifests" / "samples").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_sample_walks_to_its_end(path):
    world = world_of(yaml.safe_load(path.read_text()))
    world.run_to_end()
    assert world.condition("Complete")[0] == "True"
