"""Invalid specs that reached the operator: the run fails at once, with the field, the value and the rule.

tests/plan/test_checks.py has every rule of the plan.
"""

from typing import Any

import pytest

from support.runs import changed, make_run, make_spec
from support.world import World, world_after


def refused(spec: dict[str, Any]) -> str:
    """Return the message of a run that was refused."""
    world = World(make_run(**spec))
    decision = world.reconcile()
    assert (decision.create, decision.requeue_seconds) == ((), None)
    for kind in ("Failed", "Finished", "Stalled"):
        assert world.condition(kind)[:2] == ("True", "InvalidSpec")
    assert world.condition("Ready")[:2] == ("False", "InvalidSpec")
    assert [(e.type, e.reason) for e in decision.events] == [("Warning", "InvalidSpec")]
    return world.condition("Failed")[2]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("generation.surprise", 1, "spec.generation.surprise: 1: FusionRun "),
        ("sources.0.sampling.temperature", 3, "spec.sources.0.sampling.temperature: 3: Input should be less"),
        ("storage", {}, "spec.storage.claimName: {}: Field required"),
        ("recipe", "FuseChat-2.0", "spec.recipe: 'FuseChat-2.0': Input should be 'FuseChat-3.0'"),
        ("publish.uri", "/etc", "spec.publish.uri: '/etc': String should match pattern"),
    ],
    ids=["unknown field", "bound", "required", "enum", "pattern"],
)
def test_a_spec_that_breaks_the_schema_is_refused(path, value, message):
    """The CRD of an older release let it pass."""
    assert message in refused(changed(make_spec(), path, value))


def test_all_rules_that_a_spec_breaks_are_in_the_message():
    message = refused(make_spec(training={"nodes": 3}, storage={"claimName": "other"}))
    assert message.count("the claim must be storage.claimName") == 8
    assert "spec.training.sft.globalBatchSize: 128: must be a multiple of" in message
    assert "spec.training.dpo.globalBatchSize" in message


def test_a_refused_run_is_not_changed_again():
    decision = world_after(training={"nodes": 3}).reconcile()
    assert (decision.create, decision.status, decision.delete, decision.events) == ((), None, (), ())


def test_an_accepted_run_whose_spec_becomes_unreadable_waits_and_keeps_its_pods():
    """A value of a mutable field that another release's CRD lets pass."""
    world = world_after()
    before = world.workloads()
    world.change_spec(backoffLimit=-1)
    assert world.condition("Ready")[:2] == ("False", "OperatorTooOld")
    assert "spec.backoffLimit: -1: " in world.condition("Ready")[2]
    assert world.condition("Failed")[0] == "False"
    assert world.workloads() == before
    world.change_spec(backoffLimit=3)
    world.complete()
