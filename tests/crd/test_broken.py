"""Broken FusionRuns that the API server accepts: how the operator reports them. No cluster."""

import json
from pathlib import Path

import pytest
import yaml

from fusionrun.api.spec.run import FusionRunSpec
from support.broken import broken, valid_run
from support.golden import GOLDEN, compare
from support.runs import UID
from support.world import World

REPOSITORY = Path(__file__).parents[2]


def world_of(run: dict, **known) -> World:
    run["metadata"] |= {"namespace": "lab", "uid": UID, "generation": 1}
    return World(run, **known)


def test_every_case_has_its_own_name_and_a_message():
    found = broken()
    assert len({b.name for b in found}) == len(found)
    assert all(all(b.message) and b.message for b in found)


def test_the_base_completes():
    world = world_of(valid_run())
    world.run_to_end()
    assert world.condition("Complete")[0] == "True"


@pytest.mark.parametrize("case", broken("plan"), ids=lambda b: b.name)
def test_a_fault_that_the_plan_finds_fails_the_run_at_once(case):
    world = world_of(case.run)
    world.settle()
    status, reason, message = world.condition("Failed")
    assert (status, reason) == ("True", "InvalidSpec")
    assert world.condition("Finished")[0] == "True"
    assert not world.objects
    for fragment in case.message:
        assert fragment in message


@pytest.mark.parametrize("case", broken("cluster"), ids=lambda b: b.name)
def test_a_missing_cluster_object_is_waited_for_and_named(case):
    world = world_of(
        case.run, absent={"not-there"} | ({"pytorchjobs.kubeflow.org"} if "operator" in case.name else set())
    )
    decision = world.reconcile()
    _, reason, message = world.condition("Ready")
    assert reason == case.reason
    for fragment in case.message:
        assert fragment in message
    assert world.condition("Finished")[0] == "False"
    assert decision.requeue_seconds <= 5
    assert not world.objects


@pytest.mark.parametrize("case", broken("secret"), ids=lambda b: b.name)
def test_a_missing_secret_is_reported_by_the_first_pod(case):
    world = world_of(case.run)
    world.settle()
    world.wait_for_secret("resolve", 'secret "not-there" not found')
    world.settle()
    _, reason, message = world.condition("Ready")
    assert reason == case.reason
    for fragment in case.message:
        assert fragment in message
    assert set(world.workloads()) == {"resolve"}


@pytest.mark.parametrize("case", broken("resolve", "update"), ids=lambda b: b.name)
def test_a_spec_with_bad_content_starts_resolve_only(case):
    world = world_of(case.run)
    world.settle()
    assert set(world.workloads()) == {"resolve"}


@pytest.mark.parametrize("case", broken("admission"), ids=lambda b: b.name)
def test_without_admission_the_operator_starts_nothing(case):
    """Rules that only CEL has may pass here; an unknown field, a bound or an enum never does."""
    world = world_of(case.run)
    try:
        FusionRunSpec.model_validate(case.run["spec"], extra="forbid")
    except ValueError:
        world.settle()
        assert world.condition("Failed")[1] == "InvalidSpec"
        assert world.condition("Failed")[2].startswith("spec.")
        assert not world.objects


@pytest.mark.parametrize("name", ["tiny", "llama-3-1-8b", "evaluate-only"])
def test_the_golden_runs_are_the_samples(name):
    """``UPDATE_GOLDEN=1 pytest tests/crd tests/objects`` copies a changed sample."""
    sample = yaml.safe_load((REPOSITORY / "manifests" / "samples" / f"{name}.yaml").read_text())
    compare(GOLDEN / name / "run.json", json.dumps(sample, indent=1) + "\n")


@pytest.mark.parametrize("path", sorted((REPOSITORY / "manifests" / "samples").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_sample_completes(path):
    world = world_of(yaml.safe_load(path.read_text()))
    world.run_to_end()
    assert world.condition("Complete")[0] == "True"
